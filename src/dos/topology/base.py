"""Configuration of the topology room."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dos.kit.duration import Duration
from dos.model.entity import Entity, EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId


class DeclaredEdge(BaseModel):
    """An edge that a person vouches for; it never ages."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    caller: str = Field(min_length=1)
    """Who uses the callee."""
    callee: str = Field(min_length=1)
    """Who is used."""
    kind: EdgeKind = EdgeKind.CALL
    """How the caller uses the callee."""


class DeclaredEntity(BaseModel):
    """What a person knows about an entity; it wins over what telemetry says."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: str = Field(min_length=1)
    """`name` or `namespace/name`."""
    kind: EntityKind = EntityKind.UNKNOWN
    """What it is."""
    name: str = ""
    """Name for people; the id when empty."""
    namespace: str = ""
    """Namespace or environment."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """OpenTelemetry attribute names and values."""

    def entity(self) -> Entity:
        """As the model's noun."""
        return Entity(
            id=EntityId(self.id),
            kind=self.kind,
            name=self.name,
            namespace=self.namespace,
            attributes=tuple(sorted(self.attributes.items())),
        )


class TopologyConfig(BaseModel):
    """The `topology` section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    edge_ttl: Duration = 3600.0
    """An edge that nobody saw for longer than this is dropped. Declared ones never are."""
    declared: tuple[DeclaredEdge, ...] = ()
    """Edges that are always there, whatever telemetry says."""
    entities: tuple[DeclaredEntity, ...] = ()
    """Kinds, names and attributes that telemetry does not tell."""

    @field_validator("edge_ttl")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value <= 0:
            msg = "edge_ttl must be more than 0s, for example 1h"
            raise ValueError(msg)
        return value

    @field_validator("declared")
    @classmethod
    def _no_self_call(cls, value: tuple[DeclaredEdge, ...]) -> tuple[DeclaredEdge, ...]:
        for edge in value:
            if edge.caller == edge.callee:
                msg = f"{edge.caller!r} is declared to use itself; remove that edge"
                raise ValueError(msg)
        return value
