"""Backtests: what the pipeline would have decided on recorded history, under any configuration."""
