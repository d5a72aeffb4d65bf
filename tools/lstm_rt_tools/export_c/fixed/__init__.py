"""Integer arithmetic only: what `export-c --integer` computes, in NumPy, and how a graph becomes it (docs/fixed.md)."""
