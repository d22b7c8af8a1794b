"""Tails: fitted ones against the distributions they come from, and what is not data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dos.detect.columns import Columns
from dos.detect.evt import (
    LAYOUT,
    LEVEL,
    Table,
    Tail,
    deviation_at,
    fit,
    judge_rows,
    rarity,
    table_of,
    take_rows,
)
from dos.model.telemetry import Float64Array, Int32Array

SAMPLES = 20_000
KINDS = ("normal", "exponential", "student")


def draws(kind: str, size: tuple[int, ...], seed: int = 1) -> Float64Array:
    rng = np.random.default_rng(seed)
    made = {
        "normal": lambda: np.abs(rng.standard_normal(size)),
        "exponential": lambda: rng.exponential(1.0, size),
        "student": lambda: np.abs(rng.standard_t(3, size)),
        "uniform": lambda: rng.uniform(0, 1, size),
    }
    out: Float64Array = made[kind]()
    return out


def limit_rows(table: Table, row: Int32Array, wanted: float) -> Float64Array:
    return judge_rows(table, row, np.zeros(len(row)), wanted)[0]


def rarity_rows(table: Table, row: Int32Array, deviation: Float64Array) -> Float64Array:
    return judge_rows(table, row, deviation, 1e-3)[1]


def learned(kind: str, series: int = 20, samples: int = SAMPLES) -> Table:
    columns = Columns(LAYOUT)
    columns.grow(series)
    table, row = table_of(columns), np.arange(series, dtype=np.int32)
    healthy = np.ones(series, np.bool_)
    for line in draws(kind, (samples, series)):
        take_rows(table, row, line, healthy)
    return table


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4])
def test_the_parameters_of_a_pareto_distribution_are_found(shape: float) -> None:
    uniform = np.random.default_rng(2).uniform(size=20_000)
    excess = -2 * np.log(uniform) if shape == 0 else 2 * (uniform**-shape - 1) / shape
    found, scale = fit(np.sort(excess))
    assert found == pytest.approx(shape, abs=0.04)
    assert scale == pytest.approx(2.0, rel=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_rarities_mean_the_same_whatever_the_distribution(kind: str) -> None:
    table = learned(kind)
    row = np.arange(20, dtype=np.int32)
    fresh = draws(kind, (5_000, 20), seed=9)
    said = np.concatenate([rarity_rows(table, row, line) for line in fresh])
    for claimed in (1e-2, 1e-3):
        seen = float((said <= claimed).mean())
        assert claimed / 2.5 < seen < claimed * 2.5, (kind, claimed)


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_crossed_as_often_as_wanted(kind: str) -> None:
    table, row = learned(kind), np.arange(20, dtype=np.int32)
    limit = limit_rows(table, row, 1e-3)
    crossed = float((draws(kind, (5_000, 20), seed=5) > limit).mean())
    assert 4e-4 < crossed < 2.5e-3


def test_a_tail_that_ends_is_judged_with_caution() -> None:
    crossed = draws("uniform", (5_000, 20), seed=5) > limit_rows(
        learned("uniform"), np.arange(20, dtype=np.int32), 1e-2
    )
    assert 0 < crossed.mean() < 1.5e-2, "rather too few than too many"


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_limit_and_rarity_are_inverse(shape: float) -> None:
    tail = Tail(2.0, 1 - LEVEL, shape, 0.7)
    for wanted in (1e-2, 1e-3, 1e-5):
        assert rarity(tail, deviation_at(tail, wanted)) == pytest.approx(wanted, rel=1e-6)
    assert deviation_at(tail, 0.5) == 2.0


def test_rarer_is_further_out_without_ties() -> None:
    tail = Tail(2.0, 1 - LEVEL, 0.1, 0.7)
    far = np.linspace(0.0, 60.0, 400)
    said = np.array([rarity(tail, one) for one in far])
    assert np.all(np.diff(said) < 0)
    assert said[0] == 1.0


def test_little_data_is_judged_as_exponential() -> None:
    columns = Columns(LAYOUT)
    columns.grow(1)
    said = rarity_rows(table_of(columns), np.zeros(2, np.int32), np.array([1.0, 5.0]))
    assert said[0] == pytest.approx(1 - LEVEL)
    assert 0 < said[1] < 1e-4


def test_what_is_abnormal_or_no_number_is_not_learned() -> None:
    columns = Columns(LAYOUT)
    columns.grow(3)
    before = columns.dump()
    row = np.arange(3, dtype=np.int32)
    odd = np.array([np.nan, np.inf, 1e300])
    take_rows(table_of(columns), row, odd, np.array([True, True, False]))
    assert columns.dump() == before
    assert np.isnan(rarity_rows(table_of(columns), row, odd)).tolist() == [True, True, False]


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-9, 3.0, 1e12])
def test_constant_deviations_leave_finite_tails(value: float) -> None:
    columns = Columns(LAYOUT)
    columns.grow(1)
    table, row = table_of(columns), np.zeros(1, np.int32)
    for _ in range(3_000):
        take_rows(table, row, np.array([value]), np.ones(1, np.bool_))
    for far in (0.0, value, 2 * value + 1, 1e300):
        (said,) = rarity_rows(table, row, np.array([far])).tolist()
        assert 0 < said <= 1
    assert math.isfinite(limit_rows(table, row, 1e-6)[0])
