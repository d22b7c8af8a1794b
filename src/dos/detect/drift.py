"""Drift watch: does what was learned still fit, for each group of series?

For each series the place of its newest sample in its band of normal values is looked at now and
then: 0 is the expected value, 1 the upper and -1 the lower end. A model that fits leaves a
distribution of places that stays as it is, whatever the metric measures. The distribution of the
first `reference` is kept; that of recent looks is weighted exponentially. The two are compared
with the population stability index (Siddiqi, *Credit Risk Scorecards*, 2006, chapter 8)::

    PSI = sum over bins of (recent - before) * ln(recent / before)

for which .1 and .25 are the usual limits of "changed" and "changed a lot". A group of series is a
namespace and a role, so that one odd series does not count as drift and many do.

State is two tables `[group, bin]`, written by `dump`. No clock: the caller says the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration, format_duration
from dos.kit.errors import CorruptDataError
from dos.model.drift import DriftReading, Fit
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, SeriesSpec

_EDGES = np.array([-1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 1.0])
_BINS = len(_EDGES) + 1
_LEAST = 200.0
"""Looks that a distribution must have, by weight, to be compared."""
_SMOOTHING = 0.5
"""Added to each bin, so that an empty one has no infinite part (Krichevsky & Trofimov, 1981)."""
_FAR = 10.0
"""Places further out count as this in the mean."""


class DriftConfig(BaseModel):
    """Watching whether the baseline still fits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration = Field(default=60.0, gt=0)
    """How often the newest sample of every series is looked at."""
    reference: Duration = Field(default=86_400.0, gt=0)
    """How long the distribution is collected that later ones are compared with."""
    half_life: Duration = Field(default=6 * 3600.0, gt=0)
    """After which time a look counts half as much as one of now."""
    shifted: float = Field(default=0.1, gt=0)
    """Stability index above which a group is said to have shifted."""
    gone: float = Field(default=0.25, gt=0)
    """Stability index above which training again is advised."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """What is known of one group."""

    since: Millis
    before: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    """Looks of the reference, by bin."""
    recent: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    """Later looks, weighted, by bin."""
    weight: float = 0.0
    total: float = 0.0
    """Weighted number of recent looks, and sum of their places."""
    series: int = 0


_STATE: TypeAdapter[dict[str, _Group]] = TypeAdapter(dict[str, _Group])


def group_of(spec: SeriesSpec) -> str:
    """The group of a series: `shop/latency` of `shop/checkout`, else `latency`."""
    namespace, slash, _ = spec.entity.partition("/")
    return f"{namespace}/{spec.role.value}" if slash else spec.role.value


class DriftWatch:
    """Compares what comes with what was; see the module's text."""

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._groups: dict[str, _Group] = {}
        self._looked = Millis(0)

    def due(self, now: Millis) -> bool:
        """Whether it is time for another look; a clock that was set back starts anew."""
        return now < self._looked or now - self._looked >= self._config.every * SECOND

    def look(
        self,
        now: Millis,
        groups: Sequence[str],
        place: Float64Array,
        member: Int32Array,
    ) -> None:
        """Take in one look at the newest samples.

        Args:
            now: The time.
            groups: Names of groups.
            place: `[sample]` where each lies in its band, see `places`; finite.
            member: `[sample]` index into `groups`.

        Cost: O(samples).
        """
        passed = max(0.0, (now - self._looked) / SECOND) if self._looked else 0.0
        fade = 0.5 ** (passed / self._config.half_life)
        self._looked = now
        bins = np.searchsorted(_EDGES, place, side="right")
        counts = np.zeros((len(groups), _BINS))
        np.add.at(counts, (member, bins), 1.0)
        sums = np.zeros(len(groups))
        np.add.at(sums, member, np.clip(place, -_FAR, _FAR))
        for group in self._groups.values():
            group.recent = [fade * one for one in group.recent]
            group.weight, group.total = fade * group.weight, fade * group.total
        for index, name in enumerate(groups):
            seen = counts[index].tolist()
            if not sum(seen):
                continue
            group = self._groups.setdefault(name, _Group(since=now))
            group.series = int(sum(seen))
            if self._is_reference(group, now):
                group.before = [a + b for a, b in zip(group.before, seen, strict=True)]
                continue
            group.recent = [a + b for a, b in zip(group.recent, seen, strict=True)]
            group.weight += sum(seen)
            group.total += float(sums[index])

    def readings(self) -> Iterator[DriftReading]:
        """Every group, by name."""
        for name, group in sorted(self._groups.items()):
            yield self._reading(name, group)

    def forget(self) -> None:
        """Begin a new reference: another model decides from now on."""
        self._groups = {}

    def dump(self) -> bytes:
        """The state as canonical JSON."""
        groups = _STATE.dump_python(dict(sorted(self._groups.items())), mode="json")
        return json.dumps({"looked": self._looked, "groups": groups}).encode()

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote.

        Raises:
            CorruptDataError: It was not.
        """
        try:
            raw = json.loads(data)
            self._groups = _STATE.validate_python(raw["groups"])
            self._looked = Millis(int(raw["looked"]))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            msg = f"The state of the drift watch cannot be read: {error}."
            raise CorruptDataError(msg) from error

    def _is_reference(self, group: _Group, now: Millis) -> bool:
        young = now - group.since < self._config.reference * SECOND
        return young or sum(group.before) < _LEAST

    def _reading(self, name: str, group: _Group) -> DriftReading:
        known = group.weight >= _LEAST
        index = stability(group.before, group.recent) if known else None
        outside = _outside(group.recent) if known else None
        fit = self._fit(index)
        return DriftReading(
            group=name,
            series=group.series,
            fit=fit,
            stability=None if index is None else round(index, 4),
            bias=round(group.total / group.weight, 4) if known else None,
            outside=outside,
            outside_before=_outside(group.before) if sum(group.before) else None,
            reference_since=group.since,
            hint=self._hint(name, fit),
        )

    def _fit(self, index: float | None) -> Fit:
        if index is None:
            return Fit.LEARNING
        if index < self._config.shifted:
            return Fit.FITS
        return Fit.SHIFTED if index < self._config.gone else Fit.GONE

    def _hint(self, name: str, fit: Fit) -> str:
        if fit is Fit.SHIFTED:
            return f"The samples of {name} lie elsewhere in their bands than they did: look at it."
        if fit is Fit.GONE:
            usual = format_duration(self._config.half_life)
            return (
                f"What was learned of {name} no longer fits what came in the last {usual}: train"
                " again on your history (`dos train detect`) and compare with `dos backtest`."
            )
        return ""


def places(
    value: Float64Array, lower: Float64Array, expected: Float64Array, upper: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """Where each value lies in its band.

    Returns:
        `[sample]` place: 0 is the expected value, 1 the upper and -1 the lower end; and whether
        there is one (the series is warmed up and its band has a width).
    """
    above = value >= expected
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        half = np.where(above, upper - expected, expected - lower)
        place = (value - expected) / half
    known = np.isfinite(place) & (half > 0)
    return np.where(known, place, 0.0), known


def stability(before: Sequence[float], recent: Sequence[float]) -> float:
    """Population stability index of two histograms over the same bins; 0 is equal."""
    old, new = np.asarray(before) + _SMOOTHING, np.asarray(recent) + _SMOOTHING
    p, q = old / old.sum(), new / new.sum()
    return float(((q - p) * np.log(q / p)).sum())


def _outside(histogram: Sequence[float]) -> float:
    return round((histogram[0] + histogram[-1]) / sum(histogram), 5)
