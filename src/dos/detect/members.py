"""The detectors a kernel runs, each with its columns and the thresholds it learned.

The first is the everyday detector: it watches every series and gives the band that is shown.
Those *beside* it watch every series too. Those that look *closely* cost more and watch the series
that have a slot (see `dos.detect.closely`); their columns have a row a slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dos.detect import evt
from dos.detect.base import Detector, Scored
from dos.detect.columns import Column, Columns
from dos.kit.plugins import load
from dos.model.telemetry import Float64Array, Int32Array, Series

ROOM = "dos.detect.detectors"

_TAILS = {
    "tail": Column(dtype="<f4", initial=4.0),
    "tail_before": Column(dtype="<f4", initial=4.0),
    "straying": Column(dtype="|b1", initial=False),
}
_CLOSE_TAILS = {
    **evt.LAYOUT,
    "rarity": Column(dtype="<f8", initial=float("nan")),
}
"""Beside the fitted tail, how rare the newest sample is by it."""

Options = Mapping[str, Mapping[str, float | int | str | bool]]


@dataclass(slots=True, kw_only=True)
class MemberState:
    """What one detector knows; both tables have the same rows."""

    own: Columns
    """The detector's columns."""
    tails: Columns
    """How far healthy samples stray by its measure: a quantile, or for those that look closely
    a fitted tail (`dos.detect.evt`)."""

    def grow(self, count: int) -> None:
        """Add `count` rows."""
        self.own.grow(count)
        self.tails.grow(count)

    def dump(self) -> bytes:
        """Both tables, exactly."""
        own, tails = self.own.dump(), self.tails.dump()
        return len(own).to_bytes(8, "little") + own + tails

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in use."""
        return self.own.nbytes + self.tails.nbytes


class Member:
    """One detector as the kernel runs it.

    Args:
        name: A file of `dos/detect/detectors`.
        parameters: Keys of its own configuration.
        closely: Whether it looks closely.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, float | int | str | bool],
        *,
        closely: bool = False,
    ) -> None:
        plugin = load(ROOM, name)
        self.detector: Detector = plugin.build(plugin.config(**parameters))
        self.name = self.detector.name
        self._tails = _CLOSE_TAILS if closely else _TAILS

    def create(self) -> MemberState:
        """State of no series."""
        return MemberState(own=Columns(self.detector.layout()), tails=Columns(self._tails))

    def load(self, data: bytes) -> MemberState:
        """What `MemberState.dump` wrote.

        Raises:
            CorruptDataError: `data` is not that.
        """
        stop = 8 + int.from_bytes(data[:8], "little")
        return MemberState(
            own=Columns.load(self.detector.layout(), data[8:stop]),
            tails=Columns.load(self._tails, data[stop:]),
        )

    def begin_anew(self, state: MemberState, row: Int32Array, series: Sequence[Series]) -> None:
        """Take what `series` do now, at `row`, as their new normal.

        A detector that counts its samples in a column `count` keeps what else it knows.
        """
        if "count" in state.own.names:
            state.own["count"][row] = 0
            return
        for place, one in zip(row.tolist(), series, strict=True):
            self.begin(state, place, one)

    def begin(self, state: MemberState, place: int, series: Series) -> None:
        """Forget what is in a row and watch `series` there."""
        state.own.reset(place)
        state.tails.reset(place)
        self.detector.prepare(state.own.part(place, place + 1), 0, [series])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What one member says of some samples of a batch."""

    at: Int32Array
    """`[said]` positions in the batch."""
    row: Int32Array
    """`[said]` rows of the member's own tables."""
    scored: Scored
    distance: Float64Array
    """|z| where the side matters, else 0."""
    limit: Float64Array

    def strength(self, count: int) -> Float64Array:
        """`[sample]` over the batch of `count`; NaN where it abstains."""
        out = np.full(count, np.nan)
        ready = self.scored.ready
        out[self.at[ready]] = (self.distance / self.limit)[ready]
        return out


def member_list(
    names: Sequence[str], options: Options, *, closely: bool = False
) -> tuple[Member, ...]:
    """The members of those names."""
    return tuple(Member(name, options.get(name, {}), closely=closely) for name in names)
