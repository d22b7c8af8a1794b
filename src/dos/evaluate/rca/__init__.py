"""Root causes: cases, baselines, scores."""
