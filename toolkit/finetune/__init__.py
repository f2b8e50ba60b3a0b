"""Manifest and backbone in, predictions out, with the backbone trained."""
