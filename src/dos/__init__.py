"""Dependency Ops Sentinel: watches services and their dependencies, names the root cause."""

__version__ = "0.1.0"
