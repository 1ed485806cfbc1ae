"""Configuration of each command: pydantic models only, no heavy library. One file per command; base.py loads them."""
