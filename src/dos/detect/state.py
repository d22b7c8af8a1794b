"""What a detection kernel knows: tables of columns, one row a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from dos.detect import closely
from dos.detect.columns import Column, Columns
from dos.detect.judge import Rows
from dos.detect.members import MemberState
from dos.model.telemetry import Float32Array, Int32Array, Series

NAN = float("nan")
RECENT = 64
"""Samples of every series that are kept, so that a detector that begins to look closely has a
past to look at."""

LAYOUT = {
    "id": Column(dtype="<i4", initial=-1),
    "above": Column(dtype="|b1", initial=True),
    "below": Column(dtype="|b1", initial=True),
    "certain": Column(dtype="<f4", initial=float("inf")),
    "scale": Column(dtype="<f4", initial=1.0),
    "evidence": Column(dtype="<f4"),
    "abnormal": Column(dtype="|b1", initial=False),
    "calm": Column(dtype="<i4"),
    "onset": Column(dtype="<i8"),
    "streak": Column(dtype="<i4"),
    "reported": Column(dtype="<f4"),
    "mean": Column(dtype="<f4"),
    "lasting": Column(dtype="<f4", initial=2.0),
    "lasting_before": Column(dtype="<f4", initial=2.0),
    "lingering": Column(dtype="|b1", initial=False),
    "last": Column(dtype="<i8"),
    "value": Column(dtype="<f8", initial=NAN),
    "expected": Column(dtype="<f4", initial=NAN),
    "sigma": Column(dtype="<f4", initial=NAN),
    "strength": Column(dtype="<f4", initial=NAN),
    "leader": Column(dtype="|u1"),
    "plain": Column(dtype="|b1", initial=False),
    "spent": Column(dtype="|b1", initial=False),
    **closely.ROWS,
}
"""Columns of the engine itself. `plain`: those that watch every series see, or saw, the anomaly
that goes on; `spent`: a close detector lingers over one that has ended."""

PAST = {
    "recent": Column(dtype="<f4", width=RECENT),
    "seen": Column(dtype="<i4"),
}
"""The newest samples of a series, in a ring; kept only where something looks closely."""


@dataclass(slots=True, kw_only=True)
class EngineState:
    """State of the series of one shard host, a row each."""

    engine: Columns
    past: Columns
    slots: Columns
    """Who is watched closely; a row each slot in use."""
    members: tuple[MemberState, ...]
    """By detector, in the kernel's order; those that look closely have a row a slot."""
    series: list[Series]

    @property
    def detector(self) -> Columns:
        """Columns of the everyday detector."""
        return self.members[0].own

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        members = sum(one.nbytes for one in self.members)
        return self.engine.nbytes + self.past.nbytes + self.slots.nbytes + members

    @property
    def slot(self) -> Int32Array:
        """`[series]` the slot of each, or -1."""
        return cast(Int32Array, self.engine["slot"])

    def rows(self) -> Rows:
        """The columns of the decision, with the tails of the everyday detector."""
        tails = self.members[0].tails
        named = [self.engine[name] for name in Rows._fields[:-3]]
        return Rows._make([*named, *(tails[name] for name in Rows._fields[-3:])])

    def tails(self, place: int) -> tuple[Float32Array, Float32Array]:
        """How far healthy samples stray by the detector in that place: now, and `tail_before`."""
        tails = self.members[place].tails
        return cast(Float32Array, tails["tail"]), cast(Float32Array, tails["tail_before"])
