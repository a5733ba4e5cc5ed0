"""From photos to labels, embeddings and search results, and from folders to an index."""
