"""Functions that Functional models call between layers: one table of all of them, and what they do by family."""
