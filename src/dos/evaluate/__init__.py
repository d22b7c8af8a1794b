"""Evaluate: replay recordings, score rankings against the truth, benchmark."""
