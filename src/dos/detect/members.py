"""The detectors a kernel runs, each with its columns and the thresholds it learned.

The first is the everyday detector: it watches every series and gives the band that is shown.
Those *beside* it watch every series too. Those that look *closely* cost more and watch the series
that have a slot (see `dos.detect.closely`); their columns have a row a slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dos.detect.base import Detector, Scored
from dos.detect.columns import Column, Columns
from dos.detect.thresholds import ThresholdConfig, learn_tail, thresholds
from dos.kit.plugins import load
from dos.model.telemetry import BoolArray, Float64Array, Int32Array

ROOM = "dos.detect.detectors"

_TAILS = {
    "tail": Column(dtype="<f8", initial=4.0),
    "tail_before": Column(dtype="<f8", initial=4.0),
    "straying": Column(dtype="|b1", initial=False),
}

Options = Mapping[str, Mapping[str, float | int | str | bool]]


@dataclass(slots=True, kw_only=True)
class MemberState:
    """What one detector knows; both tables have the same rows."""

    own: Columns
    """The detector's columns."""
    tails: Columns
    """How far healthy samples stray by its measure."""

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
        config: How thresholds are learned.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, float | int | str | bool],
        config: ThresholdConfig,
    ) -> None:
        plugin = load(ROOM, name)
        self.detector: Detector = plugin.build(plugin.config(**parameters))
        self.name = self.detector.name
        self._config = config

    def create(self) -> MemberState:
        """State of no series."""
        return MemberState(own=Columns(self.detector.layout()), tails=Columns(_TAILS))

    def load(self, data: bytes) -> MemberState:
        """What `MemberState.dump` wrote.

        Raises:
            CorruptDataError: `data` is not that.
        """
        stop = 8 + int.from_bytes(data[:8], "little")
        return MemberState(
            own=Columns.load(self.detector.layout(), data[8:stop]),
            tails=Columns.load(_TAILS, data[stop:]),
        )

    def limit(self, state: MemberState, row: Int32Array, certain: Float64Array) -> Float64Array:
        """Threshold for |z| of each of `row`; `certain` is |z| that is abnormal in any case."""
        return thresholds(self._config, cast(Float64Array, state.tails["tail"])[row], certain)

    def remember(self, state: MemberState, row: Int32Array) -> None:
        """Keep the thresholds of `row` as they were before a stretch of wild samples."""
        state.tails["tail_before"][row] = state.tails["tail"][row]

    def restore(self, state: MemberState, row: Int32Array) -> None:
        """Forget what the stretch taught: it was the beginning of an anomaly."""
        state.tails["tail"][row] = state.tails["tail_before"][row]

    def learn_tail(
        self, state: MemberState, row: Int32Array, distance: Float64Array, which: BoolArray
    ) -> None:
        """A stretch beyond the tail counts once, or a slow ramp would push its limit ahead."""
        tail = cast(Float64Array, state.tails["tail"])
        straying = cast(BoolArray, state.tails["straying"])
        beyond = distance > tail[row]
        chosen = which & ~(beyond & straying[row])
        rows = row[chosen]
        tail[rows] = learn_tail(self._config, tail[rows], distance[chosen])
        straying[row] = beyond


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
    names: Sequence[str], options: Options, config: ThresholdConfig
) -> tuple[Member, ...]:
    """The members of those names."""
    return tuple(Member(name, options.get(name, {}), config) for name in names)
