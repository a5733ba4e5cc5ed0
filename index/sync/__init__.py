"""How an index changes: brought in step with folders, verified, replaced."""
