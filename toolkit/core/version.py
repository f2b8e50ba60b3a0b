"""Of the package; part of every provenance."""

__version__ = "0.2.0"
