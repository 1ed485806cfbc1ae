"""Vectors -> a searchable index. shards.py: the index folder, written and opened; manifest.py: what is in it;
segments.py: what searches it, with faiss.py; milvus.py: a vector database instead; checks.py and verify.py: damage;
recall.py: how good a search is."""
