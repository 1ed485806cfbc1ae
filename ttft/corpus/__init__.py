"""Sources of text -> Texts -> Documents and Prompts.

sources.py: read_texts, read_prompts, fingerprint; local_files.py: what a path holds; pieces.py: cuts that lose nothing;
problems.py: what could not be used, counted.
"""
