"""Learning: data sets, training, export to ONNX, and serving of what was learned."""
