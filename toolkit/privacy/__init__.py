"""Callers' rights: ids as keyed hashes, one caller taken out of everything, and the search for what is left."""
