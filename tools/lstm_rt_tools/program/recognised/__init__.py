"""Recurrent cells and activations that programs write out, recognised in loops, step by step, or alone."""
