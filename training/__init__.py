"""Learn a network from labelled pictures, and write it as a checkpoint and as a model."""
