"""Finished models on other recordings: whose models a clip is for, files, the timeline of a call."""
