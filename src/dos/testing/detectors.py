"""Checks that a detector keeps its contract (`dos.detect.base`), and a way to try one out.

    def test_my_detector_keeps_the_contract():
        check_detector(load("dos.detect.detectors", "mine"))

`deviations` feeds values to a detector as the engine does and returns what it says. Each check
raises `AssertionError` that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dos.detect.base import Detector, Scored
from dos.detect.columns import Columns
from dos.kit.clock import SECOND, Millis
from dos.kit.plugins import Plugin, load
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import (
    Float64Array,
    Int32Array,
    Role,
    Series,
    SeriesSpec,
)

ROOM = "dos.detect.detectors"
START = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z, a Monday: when checks begin."""
CALM = 6.0
"""Deviation beyond which nothing is learned by `deviations`, as the engine would hold back."""


class Stream:
    """A detector and its state, fed tick by tick.

    Args:
        detector: Under test.
        specs: One for each series.
        step: Seconds between ticks.
        hold: Deviation from which a sample is learned with a weight of 0.05 only; None: never.
    """

    def __init__(
        self,
        detector: Detector,
        specs: Sequence[SeriesSpec],
        *,
        step: float = 60.0,
        hold: float | None = CALM,
    ) -> None:
        self.detector = detector
        self.series = [Series(id=SeriesId(i), spec=spec) for i, spec in enumerate(specs)]
        self.columns = Columns(detector.layout())
        self.columns.grow(len(specs))
        detector.prepare(self.columns, 0, self.series)
        self.now = int(START)
        self._step = round(step * SECOND)
        self._hold = hold

    def feed(self, line: npt.ArrayLike, *, passed: int | None = None) -> Scored:
        """One tick: a value for each series; NaN where there is none.

        Args:
            line: `[series]`.
            passed: Milliseconds since the tick before; the step if None.
        """
        values = np.atleast_1d(np.asarray(line, np.float64))
        self.now += self._step if passed is None else passed
        row = np.flatnonzero(~np.isnan(values)).astype(np.int32)
        return self.give(row, values[row])

    def give(
        self, row: Int32Array, value: Float64Array, weight: Float64Array | None = None
    ) -> Scored:
        """Score samples of `row` at the present time, and learn them."""
        when = np.full(len(row), self.now, np.int64)
        scored = self.detector.score(self.columns, row, when, value)
        if weight is None:
            wild = np.abs(scored.deviation) > (np.inf if self._hold is None else self._hold)
            weight = np.where(scored.ready & wild, 0.05, 1.0)
        self.detector.learn(self.columns, row, when, value, weight)
        return scored


def deviations(
    name: str,
    values: npt.ArrayLike,
    *,
    specs: Sequence[SeriesSpec] | None = None,
    step: float = 60.0,
    **parameters: object,
) -> Float64Array:
    """What the built-in detector `name` says of each sample; 0 where it is not ready.

    Args:
        name: A file of `dos/detect/detectors`.
        values: `[time]` of one series, or `[time, series]`; NaN where no sample came.
        specs: Of the series; without, metrics of which nothing is known.
        step: Seconds between samples.
        parameters: Keys of its configuration.

    Returns:
        Deviations in the shape of `values`.
    """
    plugin = load(ROOM, name)
    table = np.asarray(values, np.float64)
    grid = table[:, None] if table.ndim == 1 else table
    if specs is None:
        specs = [
            SeriesSpec(entity=EntityId("service"), metric=f"metric-{place}")
            for place in range(grid.shape[1])
        ]
    stream = Stream(plugin.build(plugin.config.model_validate(parameters)), specs, step=step)
    said = np.zeros(grid.shape)
    for place, line in enumerate(grid):
        scored = stream.feed(line)
        said[place, ~np.isnan(line)] = np.where(scored.ready, scored.deviation, 0.0)
    return said.reshape(table.shape)


def check_detector(plugin: Plugin[Any, Any], keys: Mapping[str, object] | None = None) -> None:
    """Run all checks on the detector that `keys` configure, the default if None."""
    config = plugin.config.model_validate(keys or {})
    forbids = plugin.config.model_config.get("extra") == "forbid"
    _need(forbids, 'Config must refuse unknown keys: model_config = ConfigDict(extra="forbid")')

    def build() -> Detector:
        detector: Detector = plugin.build(config)
        return detector

    check_layout(build())
    check_repeatable(build)
    check_together(build)
    check_checkpoint(build)
    check_forgetting(build)
    check_hostile(build(), HOSTILE)


def check_layout(detector: Detector) -> None:
    """Every column starts with what it was declared to; a row is new while its `count` is 0."""
    layout = detector.layout()
    _need("count" in layout, "layout() lacks `count`: the engine sets it to 0 to begin a row anew")
    _need(bool(detector.name and detector.version), "a detector has a name and a version")
    columns = Columns(layout)
    columns.grow(1)
    _need(not columns["count"].any(), "`count` starts at 0")


def bytes_of(detector: Detector) -> int:
    """Bytes of state that a series takes."""
    columns = Columns(detector.layout())
    columns.grow(1)
    return columns.nbytes


def check_repeatable(build: Callable[[], Detector]) -> None:
    """Scoring changes nothing, and equal samples give equal results and equal state."""
    streams = [Stream(build(), SPECS), Stream(build(), SPECS)]
    for line in _timeline(200):
        said = []
        for stream in streams:
            row = np.flatnonzero(~np.isnan(line)).astype(np.int32)
            when = np.full(len(row), stream.now, np.int64)
            before = stream.columns.dump()
            stream.detector.score(stream.columns, row, when, line[row])
            _need(stream.columns.dump() == before, "score() changed the columns")
            said.append(_bytes(stream.feed(line)))
        _need(said[0] == said[1], "equal samples were scored differently")
    same = streams[0].columns.dump() == streams[1].columns.dump()
    _need(same, "equal samples left a different state")


def check_together(build: Callable[[], Detector]) -> None:
    """A series is scored the same whichever entities are scored in the same call."""
    whole = Stream(build(), SPECS)
    entities = sorted({spec.entity for spec in SPECS})
    places = [[i for i, spec in enumerate(SPECS) if spec.entity == one] for one in entities]
    parts = [Stream(build(), [SPECS[i] for i in mine]) for mine in places]
    for line in _timeline(260):
        there = ~np.isnan(line)
        together = whole.feed(line)
        for stream, mine in zip(parts, places, strict=True):
            alone = stream.feed(line[mine])
            chosen = np.isin(np.flatnonzero(there), mine)
            for name in ("deviation", "expected", "sigma", "ready"):
                same = getattr(together, name)[chosen].tobytes() == getattr(alone, name).tobytes()
                _need(same, f"{name} depends on which other entities are in the batch")


def check_checkpoint(build: Callable[[], Detector]) -> None:
    """All state is in the columns: a restart from them changes nothing."""
    straight, restarted = Stream(build(), SPECS), Stream(build(), SPECS)
    for count, line in enumerate(_timeline(240)):
        if count in {3, 90, 170}:
            data = restarted.columns.dump()
            restarted.detector = build()
            restarted.columns = Columns.load(restarted.detector.layout(), data)
        same = _bytes(straight.feed(line)) == _bytes(restarted.feed(line))
        _need(same, "a restart from the columns changed a score: state is kept elsewhere")
    same = straight.columns.dump() == restarted.columns.dump()
    _need(same, "a restart from the columns changed the state")


def check_forgetting(build: Callable[[], Detector]) -> None:
    """What has no weight is not learned as usual, and is forgotten when it is over."""
    stream = Stream(build(), SPECS, hold=None)
    lines = _noise(len(SPECS), 900)
    everyone = np.arange(len(SPECS), dtype=np.int32)
    layout, spreads = stream.detector.layout(), list[bytes]()
    calm: list[Float64Array] = []
    for count, line in enumerate(lines):
        stream.now += _MINUTE
        abnormal = 400 <= count < 500
        if count == 400:
            spreads = _spreads(stream.columns, layout)
        if count == 500:
            _need(
                _spreads(stream.columns, layout) == spreads, "a sample of weight 0 changed a spread"
            )
        weight = np.full(len(line), 0.0 if abnormal else 1.0)
        scored = stream.give(everyone, 3.0 * line if abnormal else line, weight)
        _check_scored(stream, everyone, scored)
        if not abnormal:
            calm.append(np.where(scored.ready, np.abs(scored.deviation), 0.0))
    before, after = np.array(calm[200:400]), np.array(calm[-250:])
    _need(
        bool(np.quantile(after, 0.99) <= 2.0 * np.quantile(before, 0.99) + 3.0),
        "long after an anomaly of no weight, normal samples are judged as they were not before it",
    )


def check_hostile(detector: Detector, samples: Iterable[tuple[int, float]]) -> None:
    """Whatever the numbers and times: finite scores, or not ready.

    Args:
        detector: Under test.
        samples: Seconds since the sample before, and a value for every series; NaN is passed
            over, as the engine does.
    """
    stream = Stream(detector, SPECS)
    everyone = np.arange(len(SPECS), dtype=np.int32)
    with np.errstate(all="raise", under="ignore"):
        for passed, value in samples:
            stream.now += passed * SECOND
            if np.isnan(value):
                continue
            scored = stream.give(everyone, np.full(len(SPECS), value))
            _check_scored(stream, everyone, scored)


HOSTILE: tuple[tuple[int, float], ...] = (
    *((60, 1.0 + 0.01 * (place % 7)) for place in range(120)),
    (60, float("inf")),
    (60, 1e308),
    (60, -1e308),
    (60, 5e-324),
    (0, 1.0),
    (-60, 1.0),
    (-86_400, 2.0),
    (10 * 365 * 86_400, 1.0),
    *((60, 1.0) for _ in range(100)),
    *((60, 5e-324 * place) for place in range(20)),
    *((60, (-1.0) ** place * 1e300) for place in range(100)),
)
"""Infinities, the largest and smallest numbers, clocks set back, ten years' gap."""
_MINUTE = 60 * SECOND
SPECS = tuple(
    SeriesSpec(
        entity=EntityId(entity),
        metric=metric,
        labels=((("k8s.replica", replica),) if replica else ()),
        role=role,
        unit=unit,
    )
    for entity in ("checkout", "cart")
    for metric, role, unit, replica in (
        ("latency", Role.LATENCY, "seconds", ""),
        ("errors", Role.ERRORS, "ratio", ""),
        ("requests", Role.TRAFFIC, "1/s", ""),
        ("anything", Role.OTHER, "", ""),
        *(("cpu", Role.SATURATION, "ratio", str(place)) for place in range(4)),
    )
)
"""Two entities of eight series each: of several roles, and one of four replicas."""


def _noise(width: int, count: int) -> Float64Array:
    """`[time, series]` ordinary samples, around one half."""
    return 0.5 * np.exp(0.1 * np.random.default_rng(7).standard_normal((count, width)))


def _timeline(count: int) -> Float64Array:
    """`[time, series]` ordinary samples, some missing, and an anomaly in the last third."""
    values = _noise(len(SPECS), count)
    values[2 * count // 3 : 2 * count // 3 + 10, ::3] *= 4.0
    values[np.random.default_rng(8).random(values.shape) < 0.1] = np.nan
    return values


def _check_scored(stream: Stream, row: Int32Array, scored: Scored) -> None:
    ready = scored.ready
    columns = (scored.deviation, scored.expected, scored.sigma, ready)
    _need(all(len(one) == len(row) for one in columns), "Scored has not one entry a sample")
    _need(bool(np.isfinite(scored.deviation[ready]).all()), "a deviation is not finite")
    expected, sigma = scored.expected[ready], scored.sigma[ready]
    _need(not np.isinf(expected).any() and not np.isinf(sigma).any(), "a band is infinite")
    _need(bool((sigma[~np.isnan(sigma)] > 0).all()), "a sigma is not positive")
    _need(
        bool((np.isnan(expected) <= np.isnan(sigma)).all()),
        "a sigma without an expected value: a detector without a direction has neither",
    )
    towards = scored.deviation[ready][np.isnan(expected)]
    _need(bool((towards >= 0).all()), "a deviation without an expected value is negative")
    unit = stream.detector.to_unit(stream.columns, row[ready], expected)
    _need(not np.isinf(unit).any(), "to_unit() gives an infinite value")


def _spreads(columns: Columns, layout: Iterable[str]) -> list[bytes]:
    names = [name for name in layout if name.endswith("spread")]
    return [columns[name].tobytes() for name in names]


def _bytes(scored: Scored) -> tuple[bytes, ...]:
    columns = (scored.deviation, scored.expected, scored.sigma, scored.ready)
    return tuple(column.tobytes() for column in columns)


def _need(met: bool, otherwise: str) -> None:
    """Like `assert`, but also where Python runs with -O."""
    if not met:
        raise AssertionError(otherwise)
