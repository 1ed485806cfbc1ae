"""Vectors -> a searchable index. faiss.py: one shard's Faiss index; shards.py: the index folder, written and opened."""
