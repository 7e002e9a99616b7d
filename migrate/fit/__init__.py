"""A model file against an emitted project: is it the same model? `transfer` and `backport` ask first."""

from migrate.fit.match import Match, layer_of, open_match

__all__ = ["Match", "layer_of", "open_match"]
