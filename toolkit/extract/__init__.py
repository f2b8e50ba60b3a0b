"""Manifest and backbone in, feature store out."""
