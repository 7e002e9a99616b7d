"""What the worker does: a package of its own, so that nothing it imports is mistaken for a module of a stranger's.

Written for Python 3.8 and TensorFlow 2.4 as well as for today's: it needs numpy and what runs the model, no more.
"""
