"""`python -m migrate` is `tf2torch`."""

from migrate.cli import main

main(prog_name="tf2torch")
