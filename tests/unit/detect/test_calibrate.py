"""Scores are rarities, and claims about rarity can be checked."""

from __future__ import annotations

import numpy as np
import pytest

from dos.detect.calibrate import fisher, rarity_of_score, reliability, score_of_rarity

BEGINS = 3e-5


def test_a_score_is_half_where_an_anomaly_may_begin() -> None:
    rarity = np.array([1.0, BEGINS, BEGINS**2, BEGINS**3])
    assert score_of_rarity(rarity, BEGINS) == pytest.approx([0.0, 0.5, 0.75, 0.875])


def test_score_and_rarity_are_inverse() -> None:
    rarity = 10.0 ** -np.arange(0, 60, 3.0)
    assert rarity_of_score(score_of_rarity(rarity, BEGINS), BEGINS) == pytest.approx(rarity)


def test_scores_are_finite_and_within_bounds() -> None:
    score = score_of_rarity(np.array([0.0, 5e-324, 1.0, 2.0]), BEGINS)
    assert np.all((score >= 0) & (score <= 1))
    assert np.all(np.isfinite(rarity_of_score(np.array([0.0, 1.0]), BEGINS)))


def test_independent_rarities_together_are_uniform_again() -> None:
    rng = np.random.default_rng(1)
    together = np.array([fisher(rng.uniform(size=5)) for _ in range(4_000)])
    for level in (0.5, 0.1, 0.01):
        assert (together <= level).mean() == pytest.approx(level, rel=0.25)


def test_two_rare_things_are_rarer_than_one() -> None:
    assert fisher(np.array([1e-3])) == pytest.approx(1e-3)
    assert fisher(np.array([1e-3, 1e-3])) < 2e-5
    assert fisher(np.array([1e-3, 1.0])) > 1e-3
    assert fisher(np.array([1.0, 1.0])) == pytest.approx(1.0)
    assert 0 <= fisher(np.zeros(300)) < 1e-300


def test_true_claims_are_inside_their_interval_and_false_ones_are_not() -> None:
    honest = np.random.default_rng(2).uniform(size=50_000)
    for one in reliability(honest, (0.1, 0.01, 0.001)):
        assert one.lower < one.claimed < one.upper
        assert one.samples == 50_000
    for one in reliability(honest**2, (0.1, 0.01)):
        assert one.lower > one.claimed, "said to be rarer than it is"


def test_nothing_said_is_nothing_checked() -> None:
    (one,) = reliability(np.full(5, np.nan), (0.1,))
    assert (one.samples, one.lower, one.upper) == (0, 0.0, 1.0)
    (none,) = reliability(np.ones(100), (0.01,))
    assert none.seen == 0.0 < none.upper < 0.05
