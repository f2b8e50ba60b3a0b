"""Whole calls cut into turns: where there is speech, and whose."""
