"""The vectors of an index in FAISS: derived from the catalogue, they propose candidates for a search."""
