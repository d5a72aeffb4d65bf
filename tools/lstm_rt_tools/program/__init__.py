"""Programs of tensor operations: the vocabulary all front ends speak, and what makes graphs of it."""
