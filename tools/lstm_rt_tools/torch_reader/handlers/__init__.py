"""What the calls in a module's forward mean in a graph."""
