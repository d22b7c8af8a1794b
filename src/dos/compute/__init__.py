"""Compute: where the scoring of shards runs."""
