"""A catalogue of photos in SQLite, and their vectors in FAISS, derived from it; decodes no picture, runs no network."""
