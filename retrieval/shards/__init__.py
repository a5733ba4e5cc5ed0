"""Embeddings in Parquet shards, made by one process or by many machines, on their way into an index."""
