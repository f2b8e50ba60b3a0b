"""Predictions in; metrics, statistics, tables, figures and the report out."""
