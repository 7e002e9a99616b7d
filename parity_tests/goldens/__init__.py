"""Whole emitted files, reviewed like code; `python -m parity_tests.goldens` rewrites them and shows the change."""
