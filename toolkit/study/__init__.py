"""A whole study from one recipe."""
