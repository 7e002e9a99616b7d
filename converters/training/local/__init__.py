"""Short torch classes and functions of the training project: real source, tested directly, and written into its
optim.py, schedules.py, losses.py, metrics.py, callbacks.py, initial.py and constraints.py. Imports torch and
torchmetrics only."""
