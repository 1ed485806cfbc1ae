"""Vectors -> a searchable index. shards.py writes and opens the index folder; manifest.py is its table of contents;
segments.py and faiss.py search it; milvus.py searches a vector database instead; checks.py and verify.py find damage;
facts.py and recall.py describe an index and measure its search."""
