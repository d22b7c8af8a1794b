from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

import dos
from dos.detect import realtime
from dos.detect.realtime import PointResult, RealTimeAnomalyDetector
from dos.model.telemetry import Float64Array


def run(values: Float64Array, **options: float) -> list[PointResult]:
    detector = RealTimeAnomalyDetector(**options)  # type: ignore[arg-type]
    return [detector.process_new_point(value) for value in values]


def found(results: list[PointResult]) -> list[int]:
    return [place for place, one in enumerate(results) if one.is_anomaly]


def noise(count: int, seed: int = 1, sigma: float = 1.0) -> Float64Array:
    return np.random.default_rng(seed).normal(50.0, sigma, count)


def test_the_example_in_the_module_is_true() -> None:
    assert doctest.testmod(realtime).failed == 0


def test_the_front_door_offers_it() -> None:
    assert dos.RealTimeAnomalyDetector is RealTimeAnomalyDetector


def test_it_is_not_ready_until_the_window_is_full_and_errors_are_known() -> None:
    results = run(noise(120), window_size=40)
    first = next(place for place, one in enumerate(results) if one.ready)
    assert first == 39 + 30
    assert all(one.score == 0.0 and math.isnan(one.threshold) for one in results[:first])


@pytest.mark.parametrize("window_size", [24, 60, 150])
def test_a_jump_is_found_at_once_and_noise_hardly_ever(window_size: int) -> None:
    values = noise(700, seed=2)
    values[600:606] += 15.0
    results = run(values, window_size=window_size)
    places = found(results)
    assert any(600 <= place < 603 for place in places)
    assert len([place for place in places if place < 600]) <= 2


def test_score_band_and_decision_agree() -> None:
    values = noise(500, seed=3)
    values[400] += 30.0
    ready = [(v, one) for v, one in zip(values, run(values), strict=True) if one.ready]
    for value, one in ready:
        assert 0.0 <= one.score < 1.0
        assert one.is_anomaly == (one.score > 0.5) == (one.error > one.threshold)
        assert one.lower <= one.expected <= one.upper
        outside = value < one.lower - 1e-9 or value > one.upper + 1e-9
        assert outside == one.is_anomaly


def test_the_threshold_follows_the_noise_and_comes_back() -> None:
    # What the errors are told in follows the noise too: so look at the band, in the series' unit.
    quiet, loud = noise(500, seed=4, sigma=1.0), noise(500, seed=5, sigma=6.0)
    results = run(np.concatenate([quiet, loud, noise(700, seed=6, sigma=1.0)]))

    def width(part: slice) -> float:
        return float(np.median([one.upper - one.lower for one in results[part]]))

    calm, wild, again = width(slice(300, 500)), width(slice(800, 1000)), width(slice(1500, 1700))
    assert wild > 2.5 * calm
    assert again < 0.5 * wild
    alarms = found(results)
    assert any(500 <= place < 520 for place in alarms), "the change itself is abnormal"
    assert len([place for place in alarms if 800 <= place < 1000]) <= 6, "what lasts is not"


def test_a_slow_drift_is_followed() -> None:
    values = noise(1200, seed=7) + 0.03 * np.arange(1200)
    results = run(values)
    assert len(found(results)) <= 8
    assert abs(results[-1].expected - values[-1]) < 5.0


def test_a_lower_threshold_finds_more() -> None:
    values = noise(600, seed=8)
    values[500] += 8.0
    few, many = (len(found(run(values, threshold=one))) for one in (12.0, 2.5))
    assert few < many


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_the_unit_does_not_matter(size: float) -> None:
    values = noise(400, seed=9)
    values[350:353] -= 12.0
    assert found(run(size * values)) == found(run(values))


def test_what_is_no_number_is_passed_over() -> None:
    values = noise(300, seed=10)
    clean = found(run(values))
    broken = np.insert(values, [100, 200, 250], [math.nan, math.inf, -math.inf])
    results = run(broken)
    assert not any(results[place].ready for place in (100, 201, 252))
    kept = [one for one, value in zip(results, broken, strict=True) if math.isfinite(value)]
    assert found(kept) == clean


def test_constants_and_extremes_give_finite_results() -> None:
    values = np.concatenate(
        [np.zeros(120), [5e-324, 1e308, -1e308, 0.0], np.full(80, 1e-310), np.ones(80)]
    )
    for one in run(values):
        if one.ready:
            numbers = (one.score, one.error, one.threshold, one.expected, one.lower, one.upper)
            assert all(math.isfinite(number) for number in numbers)
    assert not found(run(np.full(300, 7.0)))


@pytest.mark.parametrize(
    "options", [{"window_size": 4}, {"threshold": 0.0}, {"threshold": math.nan}]
)
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="window_size must be at least"):
        RealTimeAnomalyDetector(**options)  # type: ignore[arg-type]
