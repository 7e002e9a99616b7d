"""The training project around a converted model."""
