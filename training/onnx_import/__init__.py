"""From an ONNX network of any origin to a model file. Needs onnx, not torch."""
