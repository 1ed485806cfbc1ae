"""Corpus + embedding + vector index -> an index on disk.

build.py: build_index does it all; options.py: its options; claim.py: starting, resuming and appending; pieces.py: the
pieces of each shard; writer.py: embeds and writes shards in this process; searchable.py: the last step, the search
index; merge.py: several indexes into one.
"""
