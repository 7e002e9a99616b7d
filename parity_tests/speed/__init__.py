"""Benchmarks: every figure is a ratio, or stands beside one, measured in the same run. Nothing here is a test."""
