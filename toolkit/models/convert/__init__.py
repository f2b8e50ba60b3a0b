"""Checkpoints of other formats into Hugging Face folders."""
