"""Identifier types, and ids that are equal on every run that makes the same decisions."""

from __future__ import annotations

import hashlib
from typing import NewType

SeriesId = NewType("SeriesId", int)
"""Dense index of a series in the registry, from 0."""
EntityId = NewType("EntityId", str)
"""`name` or `namespace/name` of a workload, node, database, queue or external service."""
AnomalyId = NewType("AnomalyId", str)
IncidentId = NewType("IncidentId", str)
AlertId = NewType("AlertId", str)
ChangeId = NewType("ChangeId", str)
FeedbackId = NewType("FeedbackId", str)


def derive_id(prefix: str, *parts: object) -> str:
    """An id such as `inc-3f9a2c1b7d04`, derived from what makes the thing what it is.

    Derived rather than random, so that a replay of the same input yields the same ids and an
    insert repeated after a crash is recognised as the same row.
    """
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{prefix}-{digest}"
