"""Corpus + embedding + vector index -> an index on disk.

build.py: build_index, in one call; options.py: what it is asked for; claim.py: whose folder it is, and resuming;
pieces.py: which pieces make up which shard; writer.py: what embeds and writes shards, in this process;
searchable.py: the last step; merge.py: several indexes to one.
"""
