"""Feature store in, predictions out: cheap classifiers on every layer."""
