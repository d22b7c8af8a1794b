"""Who begins an anomaly and who ends it, where a close detector watches beside the everyday one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from dos.detect.engine import DetectConfig
from dos.detect.thresholds import ThresholdConfig
from dos.model.telemetry import Float32Array, Role, SeriesSpec
from tests.unit.detect.watch import LATENCY, TRAFFIC, Found, Watch, batch_at, noisy

ALONE = DetectConfig(closely=())
LINGERS = DetectConfig(closely=("level_shift",), options={"level_shift": {"recent": 40}})
"""Medians of 40 samples: a trouble is in them for 20 samples after it is over."""
STUCK = DetectConfig(closely=("flat_line",))


def learned(spec: SeriesSpec, config: DetectConfig, level: float, count: int = 600) -> Watch:
    watch = Watch(spec, config=config)
    watch.feed(noisy(level, count, share=0.02), history=True)
    return watch


def trouble(config: DetectConfig, bad: float) -> list[Found]:
    """A stretch of `bad` in a latency of 0.2, and three quarters of an hour behind it."""
    watch = learned(LATENCY, config, 0.2)
    watch.feed(noisy(bad, 40, seed=2, share=0.02))
    watch.feed(noisy(0.2, 180, seed=3, share=0.02))
    return watch.found


@pytest.mark.parametrize("bad", [0.5, 2.0])
def test_what_all_see_ends_when_the_everyday_detector_is_calm(bad: float) -> None:
    told = [[(one.started, one.at) for one in trouble(c, bad)] for c in (ALONE, LINGERS)]
    ends = [[at for started, at in one if not started] for one in told]
    assert len(ends[0]) == len(ends[1]) == 1, "it ends once, and does not begin again"
    assert ends[0] == ends[1]


def test_a_close_detector_that_lingers_is_heard_again_once_it_was_calm() -> None:
    watch = learned(LATENCY, LINGERS, 0.2)
    watch.feed(noisy(2.0, 40, seed=2, share=0.02))
    watch.feed(noisy(0.2, 12, seed=3, share=0.02))
    engine = watch.host.states[0].engine
    assert engine["strength"][0] >= 1.0, "the close detector still remembers"
    assert engine["spent"][0]
    watch.feed(noisy(0.2, 400, seed=4, share=0.02))
    assert not engine["spent"][0]
    watch.found.clear()
    watch.feed(noisy(2.0, 10, seed=5, share=0.02))
    assert any(one.started for one in watch.found)


def test_what_only_a_close_detector_sees_lasts_until_it_is_calm() -> None:
    watch = learned(TRAFFIC, STUCK, 100.0)
    watch.feed(np.full(60, 100.5))
    assert all(one.started for one in watch.found), "stuck near the level of every day"
    assert watch.found
    before = watch.now
    watch.feed(noisy(100.0, 30, seed=3, share=0.02))
    ends = [one.at for one in watch.found if not one.started]
    assert ends == [before + STUCK.recover * watch.step]


def test_without_a_close_detector_nothing_is_remembered() -> None:
    watch = learned(LATENCY, ALONE, 0.2)
    watch.feed(noisy(2.0, 40, seed=2, share=0.02))
    watch.feed(noisy(0.2, 40, seed=3, share=0.02))
    engine = watch.host.states[0].engine
    assert not engine["spent"][0]
    assert not engine["abnormal"][0]


def test_a_threshold_of_a_close_detector_is_as_rare_as_wanted_in_every_series() -> None:
    risk, count = 0.005, 4000
    threshold = ThresholdConfig(minimum=100, lasting=100, closely=0.1, risk=risk)
    config = DetectConfig(
        closely=("rate_of_change",), threshold=threshold, confirm=100, closely_above=100
    )
    watch = Watch(TRAFFIC, TRAFFIC, config=config)
    rng = np.random.default_rng(8)
    calm, wild = rng.standard_normal(count), rng.standard_t(3, count)
    values = 1000 + 20 * np.column_stack([calm, wild])
    watch.feed(values[:1000], history=True)
    strength = cast(Float32Array, watch.host.states[0].engine["strength"])
    beyond = np.zeros(2)
    for line in values[1000:]:
        watch.feed([line])
        beyond += np.greater_equal(strength, 1.0)
    share = beyond / (count - 1000)
    assert ((risk / 2.5 < share) & (share < risk * 2.5)).all(), share


def test_how_rare_a_finding_is_comes_from_the_tail_of_who_decided() -> None:
    watch = learned(TRAFFIC, STUCK, 100.0)
    rare = []
    for _ in range(60):
        found = watch.host.step(batch_at(watch.now + watch.step, np.array([100.5])))
        watch.now += watch.step
        rare += list(zip(found.detector.tolist(), found.rarity.tolist(), strict=True))
    assert rare
    assert all(who == 1 and 0 < share <= STUCK.threshold.risk for who, share in rare)


def jumped(spec: SeriesSpec, config: DetectConfig, sigmas: float) -> float:
    """Strength that a single sample so far above a quiet level has."""
    watch = learned(spec, config, 100.0)
    watch.feed(np.array([100.0 + sigmas * 2.0]))
    return float(cast(Float32Array, watch.host.states[0].engine["strength"])[0])


@pytest.mark.parametrize("metric", ["latency", "unknown"])
def test_of_a_series_without_a_role_the_everyday_detector_counts_half(metric: str) -> None:
    spec = LATENCY if metric == "latency" else replace(LATENCY, role=Role.OTHER, unit="")
    deaf = DetectConfig(threshold=ThresholdConfig(closely=100.0))
    alone, watched = jumped(spec, ALONE, 20.0), jumped(spec, deaf, 20.0)
    assert alone > 1.0
    assert watched == pytest.approx(alone * (1.0 if metric == "latency" else 0.5), rel=0.05)
