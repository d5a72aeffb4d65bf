"""Files that hold weights, read without running anything in them; each under a budget."""
