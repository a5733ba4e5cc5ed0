"""Photos through a model, many at a time."""
