"""The probability of a count, against sums of the distribution itself and against draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dos.detect.logs.rates import PRIOR, log_tail


def exact(count: int, mean: float, variance: float, exposure: float) -> float:
    """The tail summed from below in floating point, good where it is not tiny."""
    shape = PRIOR + mean * exposure
    center = shape / exposure
    uncertain = 1 / shape + (max(0.0, variance - mean) / mean**2 if mean else 0.0)
    r = 1 / uncertain
    p = r / (r + center)
    pmf, below = p**r, 0.0
    for k in range(count):
        below += pmf
        pmf *= (k + r) / (k + 1) * (1 - p)
    return 1 - below


@pytest.mark.parametrize(
    ("count", "mean", "variance", "exposure"),
    [
        (1, 0.0, 0.0, 1000.0),
        (3, 0.01, 0.01, 500.0),
        (25, 12.0, 12.0, 360.0),
        (25, 12.0, 80.0, 360.0),
        (400, 300.0, 2000.0, 100.0),
        (12, 0.5, 30.0, 8640.0),
    ],
)
def test_it_is_the_tail_of_the_distribution(
    count: int, mean: float, variance: float, exposure: float
) -> None:
    found = math.exp(log_tail(count, mean, variance, exposure))
    assert found == pytest.approx(exact(count, mean, variance, exposure), rel=1e-3)


def test_what_never_happened() -> None:
    once, thrice = log_tail(1, 0.0, 0.0, 1000.0), log_tail(3, 0.0, 0.0, 1000.0)
    assert math.exp(once) == pytest.approx(0.0005, rel=0.01)
    assert math.exp(thrice) < 1e-9


def test_up_to_the_mean_nothing_is_unlikely() -> None:
    assert log_tail(5, 5.0, 5.0, 100.0) == 0.0
    assert log_tail(0, 0.0, 0.0, 1.0) == 0.0


@pytest.mark.parametrize("count", [1e3, 1e6, 1e9, 1e15])
@pytest.mark.parametrize("variance", [0.0, 1e4, 1e12])
def test_it_is_finite_and_falls_with_the_count(count: float, variance: float) -> None:
    found = [log_tail(scale * count, 3.0, variance, 1000.0) for scale in (1.0, 2.0, 8.0)]
    assert all(math.isfinite(one) and one <= 0 for one in found)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("rate", [0.02, 0.7, 40.0])
@pytest.mark.parametrize("shape", [1.0, 8.0, 1e6])
def test_it_is_calibrated(rate: float, shape: float) -> None:
    """Healthy counts are called as unlikely as p about once in 1/p times, not more often."""
    rng = np.random.default_rng(7)
    counts = rng.poisson(rng.gamma(shape, rate / shape, 40_000)).astype(float)
    mean = variance = 0.0
    below = 0
    for ticks, count in enumerate(counts):
        if ticks >= 100:
            below += log_tail(count, mean, variance, ticks) < math.log(1e-3)
        step = 1 / (ticks + 1)
        error = count - mean
        variance += step * (error * error * (1 - step) - variance)
        mean += step * error
    assert below <= 70, "40 are to be expected, in whole numbers of events fewer"
