"""Keras's layers as nodes of a graph: one table of all of them, and their functions by family."""
