"""Grouping, batching and strange numbers change nothing they must not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.compute.base import ColumnBatch
from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel, EngineState
from dos.kit.clock import SECOND
from dos.model.anomaly import Findings
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, MetricBatch, Role, SeriesSpec
from tests.unit.detect.watch import ALL, MONDAY, Found, Watch, interned

CONFIG = DetectConfig(
    closely=(), relearn=25, recover=3, parameters={"warm_up": 5, "level_half_life": 10}
)
"""Quick to judge, to end and to relearn, so that short sequences reach every branch."""
SPECS = [
    SeriesSpec(entity=EntityId(f"service-{i}"), metric=f"metric-{i % 3}", role=role, unit=unit)
    for i, (role, unit) in enumerate(
        [(role, unit) for role in Role for unit in ("ratio", "seconds")]
    )
]


@st.composite
def timelines(draw: st.DrawFn) -> MetricBatch:
    """Some hours of several series: calm, faults, gaps; in order of time."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(1, 90)), draw(st.integers(1, len(SPECS)))
    step = draw(st.sampled_from([1, 15, 60, 1200])) * SECOND
    times = MONDAY + step * np.cumsum(rng.integers(1, 4, count))
    values = np.abs(1 + 0.05 * rng.standard_normal((count, width)))
    for _ in range(draw(st.integers(0, 4))):  # faults
        start, length = rng.integers(0, count), rng.integers(1, 40)
        values[start : start + length, rng.integers(0, width)] *= rng.choice([0.1, 5.0, 50.0])
    present = rng.random((count, width)) < draw(st.sampled_from([1.0, 0.8]))
    at, series = np.nonzero(present)
    return MetricBatch(
        series_id=series.astype(np.int32), timestamp=times[at], value=values[at, series]
    )


def host(partitions: int = 1) -> LocalHost[EngineState]:
    made: LocalHost[EngineState] = LocalHost(DetectKernel(CONFIG), partitions)
    made.register(interned(SPECS))
    return made


def part(batch: MetricBatch, start: int, stop: int) -> MetricBatch:
    return MetricBatch(
        series_id=batch.series_id[start:stop],
        timestamp=batch.timestamp[start:stop],
        value=batch.value[start:stop],
    )


def columns(findings: list[Findings]) -> list[bytes]:
    """Every column as bytes: equal means identical to the last bit."""
    return [
        np.concatenate([getattr(one, name) for one in findings]).tobytes()
        for name in Findings.__dataclass_fields__
    ]


@settings(max_examples=60)
@given(batch=timelines(), history=st.booleans())
def test_a_batch_of_many_times_gives_what_one_sample_at_a_time_gives(
    batch: MetricBatch, history: bool
) -> None:
    whole, single = host(), host()
    found = [whole.step(batch, history=history)]
    one_by_one = [
        single.step(part(batch, i, i + 1), history=history) for i in range(len(batch))
    ] or [Findings.empty()]
    assert columns(found) == columns(one_by_one)
    assert whole.dump() == single.dump()


@settings(max_examples=60)
@given(batch=timelines(), data=st.data())
def test_the_order_of_arrival_within_a_batch_does_not_matter(
    batch: MetricBatch, data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(len(batch)))), np.int64)
    mixed = MetricBatch(
        series_id=batch.series_id[order],
        timestamp=batch.timestamp[order],
        value=batch.value[order],
    )
    straight, shuffled = host(), host()
    assert columns([straight.step(batch)]) == columns([shuffled.step(mixed)])
    assert straight.dump() == shuffled.dump()


@settings(max_examples=40)
@given(batch=timelines(), cut=st.floats(0, 1))
@pytest.mark.parametrize("partitions", [4, 256])
def test_findings_do_not_depend_on_the_partitions(
    partitions: int, batch: MetricBatch, cut: float
) -> None:
    at = round(cut * len(batch))
    parts = [part(batch, 0, at), part(batch, at, len(batch))]
    one, many = host(), host(partitions)
    assert columns([one.step(p) for p in parts]) == columns([many.step(p) for p in parts])


@settings(max_examples=60)
@given(batch=timelines(), cut=st.floats(0, 1), partitions=st.sampled_from([1, 4]))
def test_a_restart_at_any_moment_changes_nothing(
    batch: MetricBatch, cut: float, partitions: int
) -> None:
    at = round(cut * len(batch))
    straight = host(partitions)
    straight.step(part(batch, 0, at))
    restarted: LocalHost[EngineState] = LocalHost(DetectKernel(CONFIG), partitions)
    restarted.load(straight.dump(), interned(SPECS))
    rest = part(batch, at, len(batch))
    assert columns([restarted.step(rest)]) == columns([straight.step(rest)])
    assert restarted.dump() == straight.dump()


STRANGE = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-308, 1e308, -1e308, float("inf"), -float("inf"), 1.0]),
)
GAPS = st.sampled_from([0, 1, 15, 3600, 86_400, 10 * 365 * 86_400, -60, -86_400])
"""Seconds between two samples: none, ten years, and a clock that was set back."""


@settings(max_examples=150)
@given(samples=st.lists(st.tuples(GAPS, STRANGE), min_size=1, max_size=60), constant=st.booleans())
def test_scores_are_finite_whatever_the_numbers(
    samples: list[tuple[int, float]], constant: bool
) -> None:
    watch = Watch(*ALL, config=CONFIG)
    with np.errstate(all="raise", under="ignore"):
        for gap, value in samples:
            watch.now += gap * SECOND - watch.step
            watch.feed([samples[0][1] if constant else value])
            check_state(watch)
    for found in watch.found:
        check_found(found)


def check_state(watch: Watch) -> None:
    state = watch.host.states[0]
    for name in ("level", "spread", "hour_sum", "shape"):
        assert np.isfinite(np.asarray(state.detector[name])).all(), name
    assert np.isfinite(np.asarray(state.members[0].tails["tail"])).all()
    assert np.isfinite(np.asarray(state.engine["evidence"])).all()
    readings = watch.readings
    known = ~np.isnan(readings.expected)
    assert np.isfinite(readings.score[known]).all()
    assert ((readings.score[known] >= 0) & (readings.score[known] <= 1)).all()
    for band in (readings.lower, readings.expected, readings.upper):
        assert not np.isinf(band).any()


def check_found(found: Found) -> None:
    assert np.isfinite([found.deviation, found.score, *found.band]).all()
    assert 0 <= found.score <= 1
    assert found.band[0] <= found.band[1] <= found.band[2]


@given(value=st.floats(allow_nan=False), count=st.integers(2, 40))
def test_a_constant_is_never_abnormal(value: float, count: int) -> None:
    watch = Watch(*ALL, config=CONFIG)
    assert watch.feed(np.full(count, value)) == []


@given(values=st.lists(st.floats(0, 1e6), min_size=2, max_size=2))
def test_two_points_decide_nothing(values: list[float]) -> None:
    watch = Watch(*ALL)
    assert watch.feed(np.array(values)) == []


@given(value=st.floats(-1e12, 1e12), wiggle=st.floats(0, 1e-6), count=st.integers(30, 400))
@settings(max_examples=30)
def test_what_hardly_moves_never_creeps_away(value: float, wiggle: float, count: int) -> None:
    watch = Watch(*ALL, config=CONFIG)
    line = value * (1 + wiggle * np.sin(np.arange(count)))
    assert watch.feed(line) == []


@st.composite
def grids(draw: st.DrawFn) -> tuple[Int64Array, Float64Array]:
    """Times, and `[time, series]` values: calm, faults, gaps, and sometimes strange numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    steps = draw(st.sampled_from([[1], [15], [60], [14, 15, 16], [600, 1200], [15, 15, 4000]]))
    times = MONDAY + SECOND * np.cumsum(rng.choice(steps, count))
    values = np.abs(1 + 0.05 * rng.standard_normal((count, width)))
    for _ in range(draw(st.integers(0, 8))):
        start, length = rng.integers(0, count), rng.integers(1, 40)
        values[start : start + length, rng.integers(0, width)] *= rng.choice([0.0, 0.1, 5.0, 50.0])
    values[rng.random((count, width)) < draw(st.sampled_from([0.0, 0.0, 0.3]))] = np.nan
    if draw(st.booleans()):
        odd = rng.choice([0.0, 5e-324, 1e308, -1e308, np.inf, -np.inf, -1.0], (count, width))
        values = np.where(rng.random((count, width)) < 0.05, odd, values)
    return times, values


CLOSE = CONFIG.model_copy(update={"closely": ("seasonal_ewma",), "closely_at_most": 5})
BESIDE = CONFIG.model_copy(update={"beside": ("seasonal_ewma",)})


@settings(max_examples=80)
@given(grid=grids(), history=st.booleans(), config=st.sampled_from([CONFIG, CONFIG, CLOSE, BESIDE]))
def test_a_block_of_history_gives_what_tick_by_tick_gives(
    grid: tuple[Int64Array, Float64Array], history: bool, config: DetectConfig
) -> None:
    times, values = grid
    kernel = DetectKernel(config)
    specs = [SPECS[i % len(SPECS)] for i in range(values.shape[1])]
    block, ticks, repeats = (kernel.grow(kernel.create(), interned(specs)) for _ in range(3))
    row = np.arange(len(specs), dtype=np.int32)
    _, at_once = kernel.step_block(block, row, times, values, history=history)
    found = [Findings.empty()]
    for at, line in zip(times, values, strict=True):
        one = np.full(len(row), at)
        batch = ColumnBatch(row=row, timestamp=one, value=line, history=history)
        found.append(kernel.step(ticks, batch)[1])
    assert columns([at_once]) == columns(found)
    assert kernel.dump(block) == kernel.dump(ticks)
    place, time = np.nonzero(~np.isnan(values.T))
    many = ColumnBatch(
        row=place.astype(np.int32),
        timestamp=times[time],
        value=values[time, place],
        history=history,
    )
    if config is not CLOSE:  # who is suspected first gets a slot first: batches may differ
        _, mixed = kernel.step(repeats, many)
        assert columns([mixed]) == columns(found)
        assert kernel.dump(repeats) == kernel.dump(ticks)


@settings(max_examples=60)
@given(grid=grids(), history=st.booleans())
def test_many_lanes_at_a_time_give_what_one_series_at_a_time_gives(
    grid: tuple[Int64Array, Float64Array], history: bool
) -> None:
    times, values = grid
    specs = [SPECS[i % len(SPECS)] for i in range(values.shape[1])]
    row = np.arange(len(specs), dtype=np.int32)
    fused, plain = DetectKernel(CONFIG), DetectKernel(CONFIG)
    plain._everyday = None  # the detector by itself, then the decision, then the detector again
    states = [kernel.grow(kernel.create(), interned(specs)) for kernel in (fused, plain)]
    found = [
        kernel.step_block(state, row, times, values, history=history)[1]
        for kernel, state in zip((fused, plain), states, strict=True)
    ]
    assert columns([found[0]]) == columns([found[1]])
    assert fused.dump(states[0]) == plain.dump(states[1])
