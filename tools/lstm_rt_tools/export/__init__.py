"""Ways out: a converted model as a file of another kind."""
