"""What a ranker is given: a window of samples, the graph, and when the trouble was noticed.

The pipeline builds a `Case` when an incident opens and again as it grows; the benchmark builds one
from a recorded directory. Rankers see no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.kit.clock import MINUTE, Millis
from dos.model.change import Change
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, SeriesSpec

GUARD = 5 * MINUTE
"""How late the suspected start may be: samples this close before it are not taken as normal."""
LARGEST = 1e300
"""No measurement is larger, and arithmetic with what is would overflow."""
ENOUGH_BASELINE = 5
"""Baseline samples of a series below which its guard is shortened rather than its baseline."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One incident as a table of samples."""

    times: Int64Array
    """`[time]` ms, ascending; need not be evenly spaced."""
    values: Float64Array
    """`[time, series]` in each series' base unit; NaN where there is no sample."""
    series: tuple[SeriesSpec, ...]
    """`[series]`."""
    graph: GraphSnapshot | None = None
    start: Millis
    """Suspected start of the trouble; may be late by up to `GUARD`."""
    end: Millis
    """Samples after it are not looked at."""
    changes: tuple[Change, ...] = ()
    target: tuple[EntityId, str | None] | None = None
    """The alarm a person saw: entity and, if known, metric."""
    abnormal: frozenset[EntityId] | None = None
    """Entities that detection found abnormal; None when detection was not asked."""

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.series)):
            msg = (
                f"values must be [time, series] = [{len(self.times)}, {len(self.series)}], "
                f"not {list(self.values.shape)}"
            )
            raise ValueError(msg)
        if np.any(np.diff(self.times) < 0):
            msg = "times must be in ascending order"
            raise ValueError(msg)

    def entities(self) -> tuple[EntityId, ...]:
        """Entities that have series, in order of first appearance."""
        return tuple(dict.fromkeys(spec.entity for spec in self.series))

    def windows(self) -> tuple[BoolArray, BoolArray]:
        """Which samples are surely normal, and which may be abnormal: masks `[time, series]`.

        The suspected start may be late, so the last `GUARD` before it belongs to the suspect
        window, where each series' own onset is searched. For a series with little history the
        guard shrinks, down to nothing, so that its first `ENOUGH_BASELINE` samples stay in the
        baseline. Infinite values, and those beyond `LARGEST`, count as missing.
        """
        present = np.abs(self.values) <= LARGEST
        before = self.times < self.start
        guarded = self.times < self.start - GUARD
        nth = np.cumsum(present, axis=0)
        baseline = present & before[:, None] & (guarded[:, None] | (nth <= ENOUGH_BASELINE))
        suspect = present & ~baseline & (self.times <= self.end)[:, None]
        return baseline, suspect
