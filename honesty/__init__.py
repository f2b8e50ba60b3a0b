"""What the statistics claim, held against studies drawn by the thousand: `python -m honesty` (docs/honesty.md)."""
