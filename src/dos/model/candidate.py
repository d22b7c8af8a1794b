"""Models of detection by name: what decides, what runs beside it, and what was made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import EntityId, IncidentId


class ModelAction(StrEnum):
    """What somebody did with a model."""

    SHADOWED = "shadowed"
    """It runs beside the live one from then on, without effect."""
    STOPPED = "stopped"
    """Nothing runs beside it any more."""
    PROMOTED = "promoted"
    """It decides."""
    ROLLED_BACK = "rolled_back"
    """What decided before it decides again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """One line of the audit of models."""

    at: Millis
    by: str
    action: ModelAction
    name: str | None
    """Of the model that it is about; None: what the configuration says."""
    previous: str | None = None
    """What was there before."""
    note: str = ""
    """Why, with the figures that spoke for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPage:
    """An alert that the live model or its shadow decided on."""

    at: Millis
    incident: IncidentId
    title: str
    entities: tuple[EntityId, ...]
    by_shadow: bool
    """Of the shadow: nobody was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStatus:
    """What a model that runs beside the live one has decided so far."""

    name: str
    since: Millis
    inputs: int
    """It saw since then."""
    anomalies: int
    live_anomalies: int
    pages: tuple[ShadowPage, ...]
    """The newest of both, oldest first."""
    only_shadow: int
    only_live: int
    both: int
    """Pages of one side that the other has, or has not, at the same time and place."""
    failure: str | None = None
    """Why it no longer runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that can be run or promoted."""

    name: str
    made_at: Millis
    origin: str
    """The file or folder it was made from."""
    has_network: bool
    """Whether it brings a network of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsStatus:
    """All of it."""

    live: str | None
    """Name of the promoted model; None: what the configuration says."""
    running: str | None
    """The one that decides in this process: a promotion takes effect at the next start."""
    shadow: ShadowStatus | None
    candidates: tuple[Candidate, ...]
    log: tuple[ModelChange, ...]
    """Newest first."""
