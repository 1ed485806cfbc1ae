"""Sources of text -> Texts -> Documents and Prompts.

sources.py: read_texts, read_prompts, fingerprints; local_files.py: what a path holds; in_memory.py: texts and records
that are in memory; pieces.py: cuts that lose nothing; problems.py: what could not be used, counted.
"""
