"""Corpora whose folders are known: a row each, of ours or of an installed package."""
