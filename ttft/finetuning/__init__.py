"""Throw-away fine-tuning: lora.py (what is trained, and its reset), engine.py (which prompt takes which step when)."""
