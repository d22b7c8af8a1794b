"""What is an anomaly and what is not, series by series."""

from __future__ import annotations

import numpy as np
import pytest

from dos.detect.engine import DetectConfig, DetectKernel
from dos.detect.ensemble import score_of
from dos.kit.clock import SECOND
from dos.kit.errors import ConfigError, CorruptDataError
from dos.model.telemetry import Role, SeriesSpec
from tests.unit.detect.watch import (
    ALL,
    AVAILABILITY,
    ERRORS,
    LATENCY,
    SATURATION,
    TRAFFIC,
    Found,
    Watch,
    batch_at,
    interned,
    noisy,
)


def started(found: list[Found]) -> list[Found]:
    return [one for one in found if one.started]


def warm(spec: SeriesSpec, level: float, *, seed: int = 1, **kwargs: float) -> Watch:
    """A series that was watched for an hour at `level`."""
    watch = Watch(spec)
    log = spec.role is Role.LATENCY
    assert watch.feed(noisy(level, 240, seed=seed, log=log, **kwargs)) == []
    return watch


@pytest.mark.parametrize("seed", range(5))
def test_a_step_in_latency_is_found_within_three_samples_and_ends_after_recovery(
    seed: int,
) -> None:
    watch = warm(LATENCY, 0.2, seed=seed)
    before = watch.now
    found = watch.feed(noisy(1.0, 40, seed=seed + 100, log=True))
    assert [one.started for one in found] == [True]
    assert found[0].at - before <= 3 * watch.step
    assert found[0].onset == before + watch.step
    assert found[0].band[0] < 0.2 < found[0].band[2] < found[0].observed
    after = watch.now
    ended = watch.feed(noisy(0.2, 40, seed=seed + 200, log=True))
    assert [one.started for one in ended] == [False]
    calm = (ended[0].at - after) // watch.step - DetectConfig().recover
    assert 0 <= calm <= 1, "what is over does not linger"
    assert ended[0].onset == found[0].onset


@pytest.mark.parametrize("factor", [0.01, 3.0, 1000.0])
def test_a_single_outlier_is_no_anomaly(factor: float) -> None:
    watch = warm(TRAFFIC, 100.0)
    assert watch.feed([100.0 * factor]) == []
    assert watch.feed(noisy(100.0, 60, seed=3)) == []


def test_outliers_far_apart_never_add_up() -> None:
    watch = warm(LATENCY, 0.2)
    for seed in range(20):
        assert watch.feed([2.0]) == []
        assert watch.feed(noisy(0.2, 9, seed=seed, log=True)) == []


RAMPS = [(SATURATION, 0.4, 0.95), (LATENCY, 0.2, 1.0), (ERRORS, 0.01, 0.3)]


def ramp_found(spec: SeriesSpec, level: float, ends: float, count: int) -> bool:
    watch = warm(spec, level)
    wiggle = noisy(1.0, count, seed=9, log=spec.role is Role.LATENCY)
    return bool(started(watch.feed(np.linspace(level, ends, count) * wiggle)))


@pytest.mark.parametrize(("spec", "level", "ends"), RAMPS)
def test_a_ramp_is_found_before_it_ends(spec: SeriesSpec, level: float, ends: float) -> None:
    assert ramp_found(spec, level, ends, 40)  # ten minutes


@pytest.mark.parametrize(("spec", "level", "ends"), RAMPS)
def test_a_ramp_over_hours_is_found(spec: SeriesSpec, level: float, ends: float) -> None:
    assert ramp_found(spec, level, ends, 480)


@pytest.mark.parametrize(
    ("spec", "level", "good", "bad"),
    [
        (LATENCY, 0.2, 0.02, 1.0),
        (ERRORS, 0.05, 0.0, 0.4),
        (AVAILABILITY, 0.9, 1.0, 0.5),
    ],
)
def test_only_the_side_that_hurts_counts(
    spec: SeriesSpec, level: float, good: float, bad: float
) -> None:
    watch = warm(spec, level, share=0.01)
    assert watch.feed([good] * 40) == []
    watch = warm(spec, level, share=0.01)
    assert started(watch.feed([bad] * 10))


@pytest.mark.parametrize("bad", [0.0, 0.98])
def test_a_resource_that_shows_nothing_is_as_odd_as_one_that_is_full(bad: float) -> None:
    assert started(warm(SATURATION, 0.6, share=0.01).feed([bad] * 10))


@pytest.mark.parametrize("spec", [TRAFFIC, LATENCY, SATURATION])
def test_a_small_shift_that_lasts_is_found_and_a_short_one_is_not(spec: SeriesSpec) -> None:
    level = 100.0 if spec.role is Role.TRAFFIC else 0.5
    log = spec.role is Role.LATENCY
    shifted = level * 1.27  # five sigmas: below the threshold of a single sample
    watch = warm(spec, level)
    assert watch.feed([shifted] * 2) == []
    assert watch.feed(noisy(level, 30, seed=4, log=log)) == []
    assert started(watch.feed(noisy(shifted, 30, seed=5, log=log)))


@pytest.mark.parametrize("level", [20.0, 500.0])
def test_traffic_may_neither_vanish_nor_multiply(level: float) -> None:
    watch = warm(TRAFFIC, 100.0)
    found = started(watch.feed([level] * 10))
    assert len(found) == 1
    assert (found[0].deviation > 0) == (level > 100)


def test_nothing_is_decided_before_the_baseline_is_known() -> None:
    watch = Watch(LATENCY)
    assert watch.feed([0.2, 5.0, 0.2, 9.0, 0.1] * 3) == []  # 15 samples: the warm-up
    assert np.isnan(Watch(LATENCY).readings.expected[0])


def test_backfill_teaches_and_decides_nothing() -> None:
    watch = Watch(LATENCY)
    past = noisy(0.2, 240, log=True)
    past[100:140] = 2.0  # an incident in the past
    assert watch.feed(past, history=True) == []
    assert not watch.readings.abnormal[0]
    assert watch.readings.expected[0] == pytest.approx(0.2, rel=0.15)
    assert len(started(watch.feed([1.0] * 3))) == 1


def test_incidents_do_not_dull_the_thresholds() -> None:
    watch = warm(LATENCY, 0.2)
    band = watch.readings.upper[0]
    for round_ in range(10):
        found = watch.feed([1.5] * 20)
        assert [one.started for one in found] == [True], f"incident {round_} was missed"
        assert [one.started for one in watch.feed(noisy(0.2, 60, seed=round_, log=True))] == [False]
    assert watch.readings.upper[0] < 1.3 * band


def test_heavy_tails_raise_the_threshold_until_they_are_normal() -> None:
    heavy = np.random.default_rng(4).standard_t(2.0, 4000) * 0.1
    watch = Watch(SeriesSpec(entity=TRAFFIC.entity, metric="x", role=Role.OTHER, unit="none"))
    watch.feed(10.0 + heavy[:2000])
    first = len(started(watch.found))
    watch.feed(10.0 + heavy[2000:])
    assert len(started(watch.found)) - first <= first + 1
    tail = watch.host.states[0].members[0].tails["tail"]
    assert tail[0] > 4.0


def test_a_lasting_change_becomes_the_new_normal_after_relearn() -> None:
    watch = Watch(LATENCY, config=DetectConfig(relearn=50))
    watch.feed(noisy(0.2, 240, log=True))
    before = watch.now
    found = watch.feed(noisy(1.0, 120, seed=2, log=True))
    assert [one.started for one in found] == [True, False]
    begun, taken = found
    # Counted are the abnormal samples after the one that decided.
    assert taken.at == begun.at + 50 * watch.step
    assert begun.onset == before + watch.step
    assert watch.readings.expected[0] == pytest.approx(1.0, rel=0.1)
    back = watch.feed(noisy(0.2, 30, seed=3, log=True))
    assert back == []  # faster than the new normal hurts nobody
    assert watch.feed(noisy(5.0, 5, seed=4, log=True))[0].started


def test_relearn_counts_one_stretch_and_not_all_of_them() -> None:
    watch = Watch(LATENCY, config=DetectConfig(relearn=30))
    watch.feed(noisy(0.2, 240, log=True))
    for seed in range(6):
        found = watch.feed([1.0] * 20)
        found += watch.feed(noisy(0.2, 40, seed=seed, log=True))
        assert [one.started for one in found] == [True, False]
    assert watch.readings.expected[0] == pytest.approx(0.2, rel=0.15)


def test_readings_show_value_band_and_score() -> None:
    watch = Watch(LATENCY, TRAFFIC)
    readings = watch.readings
    assert np.isnan(readings.value).all()
    assert np.isnan(readings.score).all()
    assert not readings.abnormal.any()
    watch.feed(np.column_stack([noisy(0.2, 240, log=True), noisy(100.0, 240)]))
    watch.feed([[1.0, 100.0]] * 3)
    readings = watch.readings
    assert readings.timestamp.tolist() == [watch.now] * 2
    assert readings.value.tolist() == [1.0, 100.0]
    assert (readings.lower < readings.expected).all()
    assert (readings.expected < readings.upper).all()
    assert readings.abnormal.tolist() == [True, False]
    assert readings.score[0] > 0.5 > readings.score[1]


def test_scores_are_half_at_the_threshold() -> None:
    scores = score_of(np.array([-1.0, 0.0, 1.0, 2.0, 1e6]))
    assert scores.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0]


def test_state_survives_in_the_middle_of_an_anomaly() -> None:
    straight, broken = warm(LATENCY, 0.2), warm(LATENCY, 0.2)
    for watch in (straight, broken):
        assert watch.feed([1.0] * 10)[0].started
    saved = broken.host.dump()
    fresh = Watch(step=15.0, start=broken.now)
    fresh.host.load(saved, broken.series)
    fresh.series = broken.series
    assert fresh.host.dump() == saved
    rest = noisy(0.2, 30, seed=8, log=True)
    assert fresh.feed(rest) == straight.feed(rest)
    assert fresh.host.dump() == straight.host.dump()


def test_a_state_of_another_detector_is_refused_with_the_remedy() -> None:
    kernel = DetectKernel(DetectConfig())
    data = kernel.dump(kernel.create())
    other = DetectKernel(DetectConfig())
    other.version = "2/other"
    with pytest.raises(CorruptDataError, match="learned again"):
        other.load(data, [])
    for cut in (0, 3, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptDataError):
            kernel.load(data[:cut], [])


def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(ConfigError, match="no type 'median'"):
        DetectKernel(DetectConfig(detector="median"))


def test_a_clock_that_is_set_back_or_far_ahead_does_no_harm() -> None:
    watch = warm(LATENCY, 0.2)
    for jump in (-3600, 86_400, 10 * 365 * 86_400, -5 * 365 * 86_400):
        watch.now += jump * SECOND
        assert watch.feed(noisy(0.2, 60, seed=abs(jump), log=True)) == []
    assert watch.feed([2.0] * 3)[0].started


# ------------------------------------------------------------------------- several detectors


TWICE = DetectConfig(
    closely=("seasonal_ewma",),
    options={"seasonal_ewma": {"level_half_life": 5}},
    closely_at_most=3,
)
"""A second, quicker copy looks closely at three series."""


def test_golden_signals_are_watched_closely_first() -> None:
    watch = Watch(SATURATION, TRAFFIC, LATENCY, ERRORS, AVAILABILITY, config=TWICE)
    assert watch.kernel.detectors == ("seasonal_ewma", "seasonal_ewma")
    assert watch.readings.closely.tolist() == [False, False, True, True, True]
    watch = Watch(SATURATION, TRAFFIC, LATENCY, config=TWICE)
    assert watch.readings.closely.all(), "there is room for all"


def test_a_golden_signal_that_comes_later_takes_the_slot_of_a_lesser_series() -> None:
    watch = Watch(SATURATION, TRAFFIC, LATENCY, config=TWICE)
    watch.feed([0.5, 0.5, 0.5])
    late = interned([SATURATION, TRAFFIC, LATENCY, ERRORS])[3:]
    watch.host.register(late)
    assert watch.readings.closely.tolist() == [True, False, True, True]
    assert watch.host.states[0].members[1].own["count"].tolist() == [3, 3, 0]


def test_a_suspected_series_is_watched_closely_once_a_slot_is_idle() -> None:
    watch = Watch(SATURATION, TRAFFIC, LATENCY, ERRORS, config=TWICE)
    assert watch.readings.closely.tolist() == [True, False, True, True]
    calm = np.column_stack([noisy(level, 240) for level in (0.4, 100.0, 0.2, 0.01)])
    watch.feed(calm)
    watch.feed([[0.4, 500.0, 0.2, 0.01]])
    assert watch.readings.closely.tolist() == [False, True, True, True]
    straight = watch.host.dump()
    again = Watch(config=TWICE)
    again.host.load(straight, watch.series)
    again.series, again.now = watch.series, watch.now
    wild = [[0.9, 500.0, 0.2, 0.01]] * 10
    assert again.feed(wild) == watch.feed(wild)
    assert again.host.dump() == watch.host.dump()


def test_a_finding_says_which_detector_decided_and_how_rare_it_is() -> None:
    watch = Watch(LATENCY, config=TWICE)
    watch.feed(noisy(0.2, 240, log=True))
    findings = [
        watch.host.step(batch_at(watch.now + (i + 1) * 15_000, np.array([1.0]))) for i in range(4)
    ]
    found = next(one for one in findings if len(one))
    assert found.detector.tolist() in ([0], [1])
    assert 0 <= found.rarity[0] < 1e-4
    assert found.lower[0] < 0.2 < found.upper[0] < 1.0


def test_it_is_known_who_watches_what_at_which_cost() -> None:
    config = DetectConfig(beside=("flat_line",), closely=("level_shift",), closely_at_most=1)
    watch = Watch(TRAFFIC, LATENCY, config=config)
    watch.feed(np.tile([100.0, 0.2], (30, 1)))
    readings = watch.readings
    everyday = ("seasonal_ewma", "flat_line")
    assert set(watch.kernel.watching(readings, 0)) == set(everyday)
    assert set(watch.kernel.watching(readings, 1)) == {*everyday, "level_shift"}
    costs = watch.kernel.watchers(watch.host.states[0])
    assert [(one.name, one.closely, one.series) for one in costs] == [
        ("seasonal_ewma", False, 2),
        ("flat_line", False, 2),
        ("level_shift", True, 1),
    ]
    assert all(0 < one.bytes_per_series < 3072 for one in costs)


def test_state_of_the_everyday_tier_is_small() -> None:
    watch = Watch(*ALL, config=DetectConfig(closely=()))
    assert watch.host.states[0].nbytes / len(ALL) < 512
