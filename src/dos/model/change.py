"""Changes: what people and machines did to the system."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import ChangeId, EntityId


class ChangeKind(StrEnum):
    """What was changed."""

    DEPLOY = "deploy"
    CONFIG = "config"
    FLAG = "flag"
    SCALE = "scale"
    RESTART = "restart"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of one entity (or of nothing in particular)."""

    id: ChangeId
    at: Millis
    kind: ChangeKind
    entity: EntityId | None = None
    summary: str = ""
    source: str = ""
