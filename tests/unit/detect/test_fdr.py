"""False discovery rates stay below what was asked for, and real ones are discovered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dos.detect.fdr import Lord, Saffron, benjamini_hochberg
from dos.model.telemetry import BoolArray, Float64Array

Judge = Callable[[], Lord | Saffron]


def stream(count: int, real: float, seed: int) -> tuple[Float64Array, BoolArray]:
    """P-values of a stream of tests, a share `real` of them of something."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(size=count) < real
    p = np.where(truth, rng.beta(0.05, 8.0, count), rng.uniform(size=count))
    return p, truth


def test_one_batch_in_the_textbook() -> None:
    # Benjamini & Hochberg (1995), table of section 3.2: four of 15 at 0.05.
    text = "0.0001 0.0004 0.0019 0.0095 0.0201 0.0278 0.0298 0.0344 0.0459 0.3240"
    p = np.array([float(one) for one in (text + " 0.4262 0.5719 0.6528 0.7590 1.0").split()])
    assert np.flatnonzero(benjamini_hochberg(p, 0.05)).tolist() == [0, 1, 2, 3]
    shuffled = np.random.default_rng(1).permutation(15)
    assert set(np.flatnonzero(benjamini_hochberg(p[shuffled], 0.05))) == {
        int(np.flatnonzero(shuffled == one)[0]) for one in range(4)
    }


def test_batches_of_many_series_hold_the_rate() -> None:
    shares, power = [], []
    for seed in range(40):
        p, truth = stream(2_000, 0.05, seed)
        found = benjamini_hochberg(p, 0.1)
        shares.append((found & ~truth).sum() / max(found.sum(), 1))
        power.append((found & truth).sum() / truth.sum())
    assert np.mean(shares) < 0.12
    assert np.mean(power) > 0.4


def test_tests_that_were_not_made_do_not_count() -> None:
    p = np.array([0.01, np.nan, 0.6, np.nan])
    assert benjamini_hochberg(p, 0.05).tolist() == [True, False, False, False]
    assert benjamini_hochberg(np.full(3, np.nan), 0.05).tolist() == [False] * 3
    assert benjamini_hochberg(np.empty(0), 0.05).tolist() == []


@pytest.mark.parametrize("judge", [lambda: Lord(0.1), lambda: Saffron(0.1)])
def test_streams_hold_the_rate_and_find_what_is_real(judge: Judge) -> None:
    shares, power = [], []
    for seed in range(15):
        p, truth = stream(1_500, 0.1, seed)
        one = judge()
        found = np.array([one.test(value) for value in p.tolist()])
        shares.append((found & ~truth).sum() / max(found.sum(), 1))
        power.append((found & truth).sum() / truth.sum())
    assert np.mean(shares) < 0.1
    assert np.mean(power) > 0.2


@pytest.mark.parametrize("judge", [lambda: Lord(0.05), lambda: Saffron(0.05)])
def test_a_healthy_fleet_is_left_in_peace(judge: Judge) -> None:
    alarmed = 0
    for seed in range(60):
        one = judge()
        p = np.random.default_rng(seed).uniform(size=400)
        alarmed += any(one.test(value) for value in p.tolist())
    assert alarmed <= 8, "at most one stream in twenty, give or take"


@pytest.mark.parametrize("judge", [lambda: Lord(0.1), lambda: Saffron(0.1)])
def test_a_discovery_pays_for_further_tests(judge: Judge) -> None:
    poor, rich = judge(), judge()
    rich.test(1e-12)
    poor.test(0.99)
    assert rich.level() > poor.level() > 0


def test_saffron_is_charged_for_what_is_clearly_nothing_only() -> None:
    idle, busy = Saffron(0.1), Saffron(0.1)
    for _ in range(100):
        idle.test(0.9)
        busy.test(0.45)
    assert busy.level() > 10 * idle.level()


@pytest.mark.parametrize("make", [Lord, Saffron])
@pytest.mark.parametrize(("rate", "wealth"), [(0.0, 0.0), (1.5, 0.1), (0.1, 0.2)])
def test_impossible_rates_are_refused(
    make: type[Lord | Saffron], rate: float, wealth: float
) -> None:
    with pytest.raises(ValueError, match="wealth"):
        make(rate, wealth=wealth)
