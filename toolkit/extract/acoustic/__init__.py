"""Acoustic sets: named measures of a clip, kept as a store of one layer."""
