"""SavedModel folders that are a graph of TensorFlow's alone, by way of ONNX."""
