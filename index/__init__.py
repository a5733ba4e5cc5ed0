"""Embeddings and a catalogue of photos: SQLite is the truth, FAISS is derived; knows no picture and no network."""
