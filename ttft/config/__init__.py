"""The options of each command as pydantic models, one file per command; no heavy imports. base.py loads them."""
