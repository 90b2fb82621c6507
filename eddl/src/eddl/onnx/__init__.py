"""ONNX files: load and save. The only room that imports the onnx package."""
