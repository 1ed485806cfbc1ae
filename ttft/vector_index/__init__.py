"""Vectors -> a searchable index. faiss.py: one Faiss index of one shard; shards.py: the index folder, written and opened."""
