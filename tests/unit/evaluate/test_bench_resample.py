"""Estimates and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dos.evaluate.bench.resample import Flown, f1_of


def test_a_ratio_is_that_of_the_sums() -> None:
    estimate = Flown(3).ratio(np.array([1.0, 2.0, 0.0]), np.array([2.0, 2.0, 4.0]))
    assert estimate.value == pytest.approx(3 / 8)
    assert estimate.count == 8
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0.0 <= estimate.low < 3 / 8 < estimate.high <= 1.0


def test_nothing_to_compute_from_is_none() -> None:
    zero = np.zeros(2)
    assert Flown(2).ratio(zero, zero).value is None
    assert Flown(2).quantile([], [], 0.5).value is None
    assert Flown(0).share(np.empty(0), np.empty(0)).value is None
    nothing = (np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64))
    assert Flown(2).calibration(*nothing).value is None


def test_one_flight_has_no_interval() -> None:
    estimate = Flown(1).share(np.array([3.0]), np.array([4.0]))
    assert (estimate.value, estimate.low, estimate.high) == (0.75, None, None)


def test_whole_flights_are_resampled_and_not_faults() -> None:
    """Ten faults per flight that stand or fall together say no more than one per flight."""
    hits = np.array([10.0, 0.0] * 10)
    together = Flown(20).share(hits, np.full(20, 10.0))
    single = Flown(20).share(hits / 10, np.ones(20))
    assert (together.low, together.high) == (single.low, single.high)
    assert together.low is not None
    assert together.high is not None
    spread = 2 * 1.96 * math.sqrt(0.25 / 20)
    assert together.high - together.low == pytest.approx(spread, rel=0.1)


def test_the_interval_covers_the_truth() -> None:
    """19 of 20 times in theory; the percentile interval of 20 flights is a little short."""
    rng, covered, rounds = np.random.default_rng(1), 0, 150
    flown = Flown(20)
    for _ in range(rounds):
        chance = rng.beta(7.0, 3.0, size=20)
        estimate = flown.share(rng.binomial(15, chance).astype(np.float64), np.full(20, 15.0))
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.7 <= estimate.high
    assert 0.87 <= covered / rounds <= 0.99


def test_flights_that_all_agree_prove_little() -> None:
    """Clopper and Pearson: nine of nine is 0.66 to 1."""
    always = Flown(3).share(np.full(3, 3.0), np.full(3, 3.0))
    assert always.low == pytest.approx(0.6637, abs=1e-4)
    assert (always.value, always.high) == (1.0, 1.0)
    never = Flown(3).share(np.zeros(3), np.full(3, 3.0))
    assert never.high == pytest.approx(1 - 0.6637, abs=1e-4)
    assert (never.value, never.low) == (0.0, 0.0)


def test_no_event_at_all_has_an_upper_bound() -> None:
    """Garwood: none in 12 service-weeks is at most 3.69 / 12 per service-week."""
    estimate = Flown(2).rate(np.zeros(2), np.array([4.0, 8.0]))
    assert estimate.value == 0.0
    assert estimate.high == pytest.approx(3.6889 / 12, abs=1e-4)
    assert Flown(2).rate(np.zeros(2), np.zeros(2)).value is None


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_a_quantile_is_one_of_the_values(share: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.exponential(size=57)
    flight = rng.integers(0, 5, size=57)
    estimate = Flown(5).quantile(values.tolist(), flight.tolist(), share)
    assert estimate.value == np.quantile(values, share, method="inverted_cdf")
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high


def test_a_quantile_of_draws_without_any_value_counts_the_others() -> None:
    estimate = Flown(4).quantile([5.0, 7.0], [0, 0], 0.5)
    assert (estimate.value, estimate.low, estimate.high) == (5.0, 5.0, 5.0)


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    given = np.array([0.95, 0.95, 0.95, 0.95, 0.25, 0.25])
    right = np.array([True, True, True, False, False, False])
    error = Flown(2).calibration(given, right, np.array([0, 0, 1, 1, 0, 1]))
    expected = (4 * abs(0.95 - 0.75) + 2 * abs(0.25 - 0.0)) / 6
    assert error.value == pytest.approx(expected)


def test_who_is_right_as_often_as_he_says_has_no_calibration_error() -> None:
    given = np.repeat([0.05, 0.35, 0.75, 1.0], 20)
    right = np.concatenate([np.arange(20) < count for count in (1, 7, 15, 20)])
    error = Flown(2).calibration(given, right, np.arange(80) % 2)
    assert error.value == pytest.approx(0.0, abs=1e-12)


def test_f1_is_the_harmonic_mean() -> None:
    precision, recall = 6 / 8, 6 / 10
    f1 = f1_of(np.array([6.0]), np.array([2.0]), np.array([10.0]))
    assert f1[0] == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1_of(np.zeros(1), np.zeros(1), np.array([3.0]))[0] == 0.0
    assert math.isnan(f1_of(np.zeros(1), np.ones(1), np.zeros(1))[0])


def test_an_f1_on_which_all_flights_agree_has_no_interval() -> None:
    one, none = np.ones(3), np.zeros(3)
    agreed = Flown(3).f1(one, none, one)
    assert (agreed.value, agreed.low, agreed.high) == (1.0, None, None)
    spread = Flown(3).f1(np.array([1.0, 0.0, 1.0]), none, one)
    assert spread.value == pytest.approx(0.8)
    assert spread.low is not None
    assert spread.high is not None
    assert spread.low < 0.8 < spread.high


def test_the_draws_are_the_same_every_time() -> None:
    above, below = np.array([1.0, 2.0, 3.0]), np.full(3, 3.0)
    assert Flown(3).ratio(above, below) == Flown(3).ratio(above, below)
