"""Sources of text -> Texts -> Documents and Prompts.

sources.py: read_texts, read_prompts, fingerprints; local_files.py: files and folders; in_memory.py: texts and records
in memory; pieces.py: lossless cuts; duplicates.py: exact duplicates; problems.py: counts of what could not be read.
"""
