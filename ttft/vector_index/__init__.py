"""Vectors -> a searchable index. shards.py: the index folder, written and opened; manifest.py: what is in it;
segments.py: what searches it, with faiss.py; milvus.py: a vector database instead; checks.py and verify.py: damage;
facts.py and recall.py: what a person wants to know of it, and how good its search is."""
