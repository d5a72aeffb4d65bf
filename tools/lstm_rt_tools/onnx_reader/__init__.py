"""ONNX files: read without the onnx package, and run as a source of the interpreter."""
