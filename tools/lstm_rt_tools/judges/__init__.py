"""What judges a conversion: the reference, a source that runs again, comparison, test data."""
