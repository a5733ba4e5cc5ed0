"""The last layer alone: learned on the embeddings that a model gives, and put into a copy of its file."""
