"""The training loop and its run: recipe, steps, checkpoints, reports."""
