"""What comes out of a replay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from dos.app.demo_types import RankedCause


class ReplayKind(StrEnum):
    """What was replayed."""

    RECORDING = "recording"
    """A run of DOS: its decisions are compared with the recorded ones."""
    CASE = "case"
    """A recorded incident of some system: the ranking is compared with the known cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """One replayed recording or case."""

    path: Path
    kind: ReplayKind
    inputs: int
    """Intakes processed."""
    samples: int
    decisions: int
    """Events the replay produced."""
    incidents: int
    identical: bool | None = None
    """Whether the decisions equal the recorded ones byte for byte; None for a case."""
    difference: str | None = None
    """The first difference, as a sentence."""
    ranked: tuple[RankedCause, ...] = ()
    """Of a case: most probable first."""
    unknown: float | None = None
    """Probability given to a cause outside the ranking."""
    truth: tuple[str, ...] = ()
    """The entities that are a correct answer, where it is known."""
    correct_rank: int | None = None
    """Place of the best correct answer, from 1; None when it is not ranked or not known."""
    rank_seconds: float = 0.0
    """Of a case: time to rank it, without reading and playing."""
    wall_seconds: float = 0.0


REPLAY_REPORTS: TypeAdapter[tuple[ReplayReport, ...]] = TypeAdapter(tuple[ReplayReport, ...])
