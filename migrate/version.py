"""The version of the toolkit, said once."""

__version__ = "0.1.0"
