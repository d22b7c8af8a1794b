"""What can depend and be depended on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.model.ids import EntityId


class EntityKind(StrEnum):
    """What an entity is."""

    SERVICE = "service"
    GATEWAY = "gateway"
    DATABASE = "database"
    CACHE = "cache"
    QUEUE = "queue"
    EXTERNAL = "external"
    NODE = "node"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A node of the dependency graph."""

    id: EntityId
    kind: EntityKind = EntityKind.UNKNOWN
    name: str = ""
    namespace: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    """Sorted by name; OpenTelemetry attribute names (`service.version`, `k8s.node.name`)."""
