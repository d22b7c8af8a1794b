"""What a detector is: vectorised scoring and learning over columns of state.

The engine calls `score` with the newest sample of many series at once, decides which of them are
abnormal, and then calls `learn` with a weight per sample, so that a detector need not know how
decisions are made and does not learn an incident as the new normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from dos.detect.calendar import DaysOff
from dos.detect.columns import Column, Columns
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, Series


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Scores of one batch, in columns `[sample]`."""

    deviation: Float64Array
    """Signed robust z-score: (observed - expected) / sigma, finite. A detector that knows no
    direction gives 0 or more, and takes that of the everyday detector."""
    expected: Float64Array
    sigma: Float64Array
    """Expected value and robust spread on the detector's own scale (see `to_unit`); NaN in a
    detector that has no band."""
    ready: BoolArray
    """False while the baseline of the series is warming up."""
    sure: BoolArray | None = None
    """Where the deviation is measured by a bound of the detector's own, so that the lowest
    threshold holds, whatever the series' past strayed, and nothing is learned of how far healthy
    samples stray. None: nowhere."""


@runtime_checkable
class KnowsDaysOff(Protocol):
    """A detector with a daily shape, which is another one on holidays."""

    def use(self, days_off: DaysOff) -> None:
        """Look up holidays there; called once, before any series is added."""
        ...


@runtime_checkable
class Thorough(Protocol):
    """A detector that looks at a series in every respect: what it does not see is hardly there."""

    thorough: Literal[True]


class Detector(Protocol):
    """Scores series; all state is in the columns it declares."""

    name: str
    version: str

    def layout(self) -> Mapping[str, Column]:
        """The columns this detector needs; names are prefixed by the engine."""
        ...

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Rows `first…` were added for `series`: set what depends on role and unit."""
        ...

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Score one new sample for each of `row`, before it is learned."""
        ...

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Learn the samples just scored; `weight` is 1 for normal, towards 0 for abnormal."""
        ...

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Values on the detector's own scale back in the series' unit."""
        ...
