"""Metrics of a service that part company are found, and the ones that did it are named."""

from __future__ import annotations

import numpy as np

from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.simulate.engine import Simulation
from dos.simulate.worlds import world
from dos.testing.detectors import ROOM, Stream, deviations

ROLES = (Role.TRAFFIC, Role.SATURATION, Role.LATENCY, Role.OTHER, Role.OTHER)


def specs(*entities: str, width: int = 4) -> list[SeriesSpec]:
    return [
        SeriesSpec(entity=EntityId(entity), metric=f"m{place}")
        for entity in entities
        for place in range(width)
    ]


def bound(count: int, seed: int, width: int = 4) -> Float64Array:
    """`[time, series]` that all follow one load."""
    rng = np.random.default_rng(seed)
    load = rng.normal(0.0, 1.0, (count, 1))
    return 50.0 + 5.0 * load + rng.normal(0.0, 0.7, (count, width))


def test_what_is_usual_alone_but_not_together_is_found_and_named() -> None:
    found, named = 0, 0
    for seed in range(12):
        values = bound(700, seed)
        values[600:604, 2] -= np.sign(values[600:604, 0] - 50) * 8.0
        values[600:604, 2] = np.clip(values[600:604, 2], 42.0, 58.0)
        z = deviations("multivariate", values, specs=specs("a"))
        assert np.abs(z[:600]).max() < 6
        worst = np.abs(z[600:604]).max(axis=0)
        found += bool(worst.max() > 6)
        named += bool(worst.argmax() == 2)
    assert found >= 9
    assert named >= 10


def test_a_univariate_look_sees_nothing_there() -> None:
    """The counterpart: each value is one that the series takes every few samples."""
    values = bound(700, 1)
    values[600, 0], values[600, 1] = 44.0, 56.0
    single = [deviations("multivariate", values[:, :1], specs=specs("a", width=1))]
    assert all(np.abs(z).max() == 0.0 for z in single)  # one series is no vector
    assert np.abs(values[600] - 50).max() < 2 * values[:600].std()
    assert np.abs(deviations("multivariate", values, specs=specs("a"))[600]).max() > 6


def test_healthy_services_seldom_reach_the_threshold() -> None:
    values = np.column_stack([bound(1500, seed) for seed in range(10)])
    z = deviations("multivariate", values, specs=specs(*"abcdefghij"))
    assert (np.abs(z) > 6).mean() < 2e-4


def test_a_load_that_all_follow_is_no_news() -> None:
    """A surge within the reach of the learned covariance is less odd than one series alone."""
    together, alone = bound(700, 2), bound(700, 2)
    together[650] = 50.0 + 18.0
    alone[650, 1] = 50.0 + 18.0
    worst = [
        np.abs(deviations("multivariate", values, specs=specs("a"))[650]).max()
        for values in (together, alone)
    ]
    assert worst[0] < 0.5 * worst[1]


def test_entities_do_not_mix_and_latecomers_join_their_own() -> None:
    plugin = load(ROOM, "multivariate")
    both = Stream(plugin.build(plugin.config()), specs("a", "b"))
    values = np.column_stack([bound(300, 3), bound(300, 4)])
    for line in values:
        both.feed(line)
    leader = np.asarray(both.columns["leader"]) + np.arange(8)
    assert leader.tolist() == [0] * 4 + [4] * 4
    fresh = specs("b", width=6)[4:]
    both.columns.grow(2)
    series = [type(both.series[0])(id=both.series[0].id, spec=spec) for spec in fresh]
    both.detector.prepare(both.columns, 8, series)
    leader = np.asarray(both.columns["leader"])[8:] + np.arange(8, 10)
    assert leader.tolist() == [4, 4]
    assert np.asarray(both.columns["slot"])[8:].tolist() == [4, 5]


def test_at_most_sixteen_and_no_replicas() -> None:
    many = [*specs("a", width=20)]
    many += [
        SeriesSpec(entity=EntityId("a"), metric="cpu", labels=(("pod", "a-1"),)),
        SeriesSpec(entity=EntityId("a"), metric="p99", role=Role.LATENCY, unit="seconds"),
    ]
    plugin = load(ROOM, "multivariate")
    slot = np.asarray(Stream(plugin.build(plugin.config()), many).columns["slot"])
    assert slot[-2] == -1
    assert slot[-1] == 0, "golden signals come first"
    assert sorted(slot[slot >= 0].tolist()) == list(range(16))


def test_a_member_that_reports_in_another_batch_still_counts() -> None:
    plugin = load(ROOM, "multivariate")
    stream = Stream(plugin.build(plugin.config()), specs("a"))
    first, second = np.array([0, 1], np.int32), np.array([2, 3], np.int32)
    for line in bound(400, 5):
        stream.now += 60_000
        stream.give(first, line[first])
        scored = stream.give(second, line[second])
    assert scored.ready.all()
    covariance = np.asarray(stream.columns["covariance"])
    assert covariance[3, 0] > 0.3, "the load they share is seen across the batches"


def test_quiet_on_a_simulated_healthy_shop() -> None:
    simulation = Simulation(world("shop", seed=3), seed=3, step_seconds=15.0)
    frame = simulation.ticks(900)
    table = frame.value.reshape(900, len(frame.series))
    z = deviations("multivariate", table, specs=frame.series, step=15.0)
    assert (np.abs(z[200:]) > 6).mean() < 1e-3
