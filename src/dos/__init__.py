"""Dependency Ops Sentinel: watches services and their dependencies, names the root cause."""

from dos.kit.version import __version__

__all__ = ["__version__"]
