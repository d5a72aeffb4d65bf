"""Integer weights for a graph that has been trained in float32."""
