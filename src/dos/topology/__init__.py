"""Topology: merges evidence of who uses whom into one versioned dependency graph."""
