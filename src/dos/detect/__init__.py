"""Detect: which series behave abnormally. Scores every series as its samples arrive."""
