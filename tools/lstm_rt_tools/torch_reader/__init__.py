"""From PyTorch: weight files, pickled modules and live ones to graphs."""
