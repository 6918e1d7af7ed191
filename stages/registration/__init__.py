"""What a registered version carries beside its weights: where it came from, its model card, and its ONNX files."""
