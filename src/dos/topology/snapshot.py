"""The topology's state as bytes, for checkpoints: JSON, exact, and equal for equal states."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.entity import Entity
from dos.model.graph import Edge, EdgeKind
from dos.model.ids import EntityId


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSighting:
    """What one source knows of one edge."""

    caller: EntityId
    callee: EntityId
    kind: EdgeKind
    source: str
    first_seen: Millis
    last_seen: Millis
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyState:
    """Everything a `Topology` remembers, sorted."""

    version: int
    changed_at: Millis
    sightings: tuple[SavedSighting, ...]
    edges: tuple[Edge, ...]
    """As published last, which is what the snapshot shows."""
    entities: tuple[Entity, ...]


_STATE: TypeAdapter[TopologyState] = TypeAdapter(TopologyState)


def encode(state: TopologyState) -> bytes:
    """`state` as JSON."""
    return _STATE.dump_json(state)


def decode(data: bytes) -> TopologyState:
    """What `encode` wrote.

    Raises:
        CorruptDataError: `data` is something else.
    """
    try:
        return _STATE.validate_json(data)
    except ValidationError as error:
        msg = f"The checkpoint of the topology cannot be read: {error.errors()[0]['msg']}."
        raise CorruptDataError(
            msg, remedy="Delete the checkpoint; the graph is learned anew from the sources."
        ) from error
