"""Series like those that people label: each kind with the anomalies that it has in operation.

`develop` spreads all shapes of anomaly evenly over all series, to find what a detector cannot do.
In operation a web service has a dozen spikes, dips and short shifts in two weeks, a machine one
long excursion, a spacecraft's channel a pattern that was never seen, and a person marks a wide
window around a short event. This module makes such series, of synthetic families only: it has
nothing of any labelled series in it, and what it says of these kinds is general knowledge.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from dos.evaluate.series.develop import draw
from dos.evaluate.series.families import FAMILIES
from dos.evaluate.series.files import Event, LabelledSeries
from dos.evaluate.series.shapes import SHAPES, Shape, nature_of
from dos.model.telemetry import Float64Array

_TRIES = 200
_LOOSE = 0.15
"""Share of the series that are labelled from a while before to a while after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of series and its anomalies."""

    families: tuple[str, ...]
    step_s: float
    points: tuple[int, int]
    shapes: tuple[tuple[str, int, int], ...]
    """Name, how often it is drawn against the others, longest in points."""
    events: tuple[int, int]
    """Anomalies in a series, least and most."""
    labelled: float
    """Share of the points that is anomalous at most."""
    each: int
    """Series of each family."""
    wide: bool = False
    """Labelled by a window of a few percent of the series around each anomaly."""


_WEB = (
    ("spike", 5, 6),
    ("dip", 4, 12),
    ("dropout", 2, 20),
    ("temporary shift", 3, 60),
    ("noise burst", 2, 30),
    ("ramp", 1, 80),
    ("flat line", 1, 60),
    ("level shift", 1, 60),
)
_CHANNEL = (
    ("temporary shift", 3, 300),
    ("replaced", 3, 400),
    ("amplitude", 2, 400),
    ("truncation", 1, 300),
    ("flat line", 2, 300),
    ("frequency", 2, 400),
    ("spike", 1, 4),
    ("variance", 2, 300),
    ("phase", 1, 300),
    ("dropout", 1, 200),
)
_MACHINE = (
    ("temporary shift", 3, 1_500),
    ("ramp", 2, 1_500),
    ("variance", 2, 1_500),
    ("noise burst", 2, 800),
    ("contextual", 1, 800),
)
_MARKED = (
    ("spike", 2, 4),
    ("temporary shift", 2, 100),
    ("dropout", 2, 30),
    ("level shift", 1, 80),
    ("noise burst", 1, 50),
    ("contextual", 1, 150),
)
KINDS: dict[str, Kind] = {
    "web": Kind(
        families=("daily", "requests", "latency", "bursts", "errors", "quantised"),
        step_s=60.0,
        points=(9_000, 15_000),
        shapes=_WEB,
        events=(6, 16),
        labelled=0.03,
        each=3,
    ),
    "web at 5 min": Kind(
        families=("daily", "requests", "latency", "bursts"),
        step_s=300.0,
        points=(6_000, 10_000),
        shapes=_WEB,
        events=(4, 12),
        labelled=0.04,
        each=2,
    ),
    "channel": Kind(
        families=("switching", "waveform", "regimes", "quantised", "jobs", "sawtooth"),
        step_s=60.0,
        points=(3_000, 8_000),
        shapes=_CHANNEL,
        events=(1, 2),
        labelled=0.12,
        each=3,
    ),
    "machine": Kind(
        families=("wandering", "daily", "bursts", "latency", "growing"),
        step_s=60.0,
        points=(14_000, 20_000),
        shapes=_MACHINE,
        events=(1, 1),
        labelled=0.08,
        each=2,
    ),
    "marked": Kind(
        families=("daily", "wandering", "latency", "bursts", "jobs"),
        step_s=300.0,
        points=(3_000, 5_000),
        shapes=_MARKED,
        events=(1, 3),
        labelled=0.1,
        each=2,
        wide=True,
    ),
}


def series_of_kinds(seed: int) -> list[LabelledSeries]:
    """About 64 series, a function of the seed alone; those of two seeds share nothing."""
    made: list[LabelledSeries] = []
    for kind_name, kind in KINDS.items():
        shapes = _weighted(kind)
        for family in kind.families:
            for number in range(kind.each):
                name = f"{kind_name}-{family}-{number}"
                rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
                values = FAMILIES[family](rng, int(rng.integers(*kind.points)), kind.step_s)
                one = _with_anomalies(rng, f"{seed}-{name}", kind_name, kind, shapes, values)
                if one is not None and one.events:
                    made.append(one)
    return made


def _weighted(kind: Kind) -> tuple[Shape, ...]:
    """The shapes of a kind, each as often as it weighs, no longer than the kind has them."""
    by_name = {shape.name: shape for shape in SHAPES}
    return tuple(
        replace(by_name[name], longest=max(by_name[name].shortest, longest))
        for name, times, longest in kind.shapes
        for _ in range(times)
    )


def _with_anomalies(
    rng: np.random.Generator,
    name: str,
    group: str,
    kind: Kind,
    shapes: tuple[Shape, ...],
    values: Float64Array,
) -> LabelledSeries | None:
    """A clean series with the anomalies of its kind; None for one that never changes."""
    count = len(values)
    prefix = round(rng.uniform(0.1, 0.3) * count)
    nature = nature_of(values)
    if nature.scale <= 0:
        return None
    wanted = int(rng.integers(kind.events[0], kind.events[1] + 1))
    changed, events = values, list[Event]()
    free = np.zeros(count, np.bool_)
    free[prefix + 20 : count - 20] = True
    for _ in range(_TRIES):
        if len(events) >= wanted:
            break
        left = round(kind.labelled * count) - sum(one.last - one.first + 1 for one in events)
        drawn = draw(rng, changed, free, nature, left, shapes)
        if drawn is not None:
            changed, event = drawn
            events.append(event)
            gap = max(30, event.last - event.first)
            free[max(0, event.first - gap) : event.last + gap + 1] = False
    events.sort(key=lambda one: one.first)
    labels = np.zeros(count, np.bool_)
    loose = rng.random() < _LOOSE
    for event in events:
        pad = 0
        if kind.wide:
            pad = int(rng.uniform(0.02, 0.05) * count)
        elif loose:
            pad = round(rng.uniform(0.3, 1.0) * max(event.last - event.first + 1, 10))
        labels[max(prefix, event.first - pad) : event.last + pad + 1] = True
    return LabelledSeries(
        name=name,
        group=group,
        values=changed,
        labels=labels,
        prefix=prefix,
        step_s=kind.step_s,
        row=np.arange(count),
        rows=count,
        events=tuple(events),
    )
