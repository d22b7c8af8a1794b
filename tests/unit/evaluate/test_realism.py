"""Statistics of healthy series, against processes whose true values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dos.evaluate.healthy import Column, Healthy, Measure
from dos.evaluate.realism import (
    Statistic,
    autocorrelation,
    compare,
    correlation,
    describe,
    details,
    detrended,
    kurtosis,
    outliers,
    ratio_of,
    strongest,
    summary,
    tail_index,
    variation,
)
from dos.model.telemetry import Float64Array


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def autoregressive(rng: np.random.Generator, keep: float, size: int) -> Float64Array:
    values = np.empty(size)
    values[0] = rng.standard_normal()
    for i in range(1, size):
        values[i] = keep * values[i - 1] + math.sqrt(1 - keep * keep) * rng.standard_normal()
    return values


def test_variation_is_relative_to_the_mean_and_leaves_gaps_out() -> None:
    piece = np.array([8.0, 12.0, math.nan] * 10)
    assert variation(piece) == pytest.approx(0.2)
    assert variation(-piece) == pytest.approx(0.2)
    assert math.isnan(variation(np.zeros(50)))
    assert math.isnan(variation(np.full(50, math.nan)))


def test_autocorrelation_of_an_autoregressive_process_decays_geometrically(
    rng: np.random.Generator,
) -> None:
    series = autoregressive(rng, 0.8, 20_000)
    for lag in (1, 2, 4):
        assert autocorrelation(series, lag) == pytest.approx(0.8**lag, abs=0.03)
    series[rng.random(20_000) < 0.3] = math.nan
    assert autocorrelation(series, 1) == pytest.approx(0.8, abs=0.04)


def test_autocorrelation_needs_variation_and_length() -> None:
    assert math.isnan(autocorrelation(np.ones(100), 1))
    assert math.isnan(autocorrelation(np.arange(20.0), 19))


def test_correlation_counts_only_steps_that_both_have(rng: np.random.Generator) -> None:
    one = rng.standard_normal(5_000)
    other = 0.6 * one + 0.8 * rng.standard_normal(5_000)
    one[::3], other[1::3] = 1e9, 1e9
    one[::3], other[1::3] = math.nan, math.nan
    assert correlation(one, other) == pytest.approx(0.6, abs=0.05)
    assert math.isnan(correlation(one[:9], other[:9]))


def test_the_strongest_correlation_finds_a_series_that_follows(rng: np.random.Generator) -> None:
    lead = rng.standard_normal(2_000)
    follower = np.roll(lead, 3)
    assert abs(correlation(lead, follower)) < 0.1
    assert strongest(lead, follower) == pytest.approx(1.0, abs=0.01)
    assert strongest(follower, -lead) == pytest.approx(1.0, abs=0.01)
    assert strongest(lead, follower, lags=2) < 0.1


def test_detrending_takes_out_the_line_and_nothing_else(rng: np.random.Generator) -> None:
    noise = rng.standard_normal(500)
    rest = detrended(noise + 0.5 * np.arange(500.0) + 40)
    assert correlation(rest, noise) > 0.99
    assert abs(np.polyfit(np.arange(500.0), rest, 1)[0]) < 1e-9


def test_heavy_tails_show_in_kurtosis_and_outliers(rng: np.random.Generator) -> None:
    normal, heavy = rng.standard_normal(50_000), rng.standard_t(3, 50_000)
    assert kurtosis(normal) == pytest.approx(3.0, abs=0.1)
    assert outliers(normal) < 1e-4
    assert kurtosis(heavy) > 8
    # A t(3) variable exceeds 5 · 1.4826 · 0.7649 in 1.1 % of draws.
    assert outliers(heavy) == pytest.approx(0.0107, rel=0.2)


def test_outliers_need_a_scale() -> None:
    held = np.zeros(100)
    held[::10] = 5.0
    assert math.isnan(outliers(held))


def test_tail_index_of_a_pareto_sample_is_its_exponent(rng: np.random.Generator) -> None:
    for alpha in (1.5, 4.0):
        sample = 3.0 * (1.0 + rng.pareto(alpha, 40_000))
        assert tail_index(sample) == pytest.approx(alpha, rel=0.1)
    assert math.isnan(tail_index(rng.pareto(2.0, 50)))


@pytest.mark.parametrize(
    ("statistic", "real", "simulated", "expected"),
    [
        (Statistic.VARIATION, 0.1, 0.3, 3.0),
        (Statistic.MINUTE, 0.05, -0.1, 1.0),
        (Statistic.MINUTE, 0.8, -0.8, 0.25),
        (Statistic.MINUTE, -0.1, 0.8, 4.0),
        (Statistic.MINUTE, -0.8, -0.4, 0.5),
        (Statistic.OUTLIERS, 0.0, 0.008, 4.0),
    ],
)
def test_ratios_take_what_is_as_good_as_zero_for_zero(
    statistic: Statistic, real: float, simulated: float, expected: float
) -> None:
    assert ratio_of(statistic, real, simulated) == pytest.approx(expected)


def healthy(rng: np.random.Generator, *, noise: float, name: str = "set") -> Healthy:
    """Two entities at a step of 30 s, whose latency follows the CPU."""
    columns = tuple(
        Column(entity=entity, measure=measure)
        for entity in ("a", "b")
        for measure in (Measure.CPU, Measure.LATENCY, Measure.LATENCY_P50, Measure.LATENCY_P99)
    )
    pieces = []
    for _ in range(3):
        own = []
        for _ in range(2):
            cpu = 0.4 + noise * rng.standard_normal(300)
            latency = 0.1 + 0.2 * (cpu - 0.4) + 0.02 * rng.standard_normal(300)
            own += [cpu, latency, latency / 2, latency * 1.5]
        pieces.append(np.column_stack(own))
    return Healthy(name=name, step_s=30.0, columns=columns, pieces=tuple(pieces))


def test_description_has_one_figure_per_series(rng: np.random.Generator) -> None:
    figures = describe([healthy(rng, noise=0.1)])
    assert figures[Measure.CPU, Statistic.VARIATION] == pytest.approx([0.25, 0.25], rel=0.1)
    assert figures[Measure.CPU, Statistic.NOISE] == pytest.approx([0.25, 0.25], rel=0.15)
    assert figures[Measure.LATENCY, Statistic.CPU_LATENCY] == pytest.approx([0.71, 0.71], abs=0.1)
    assert figures[Measure.LATENCY_P99, Statistic.QUANTILES] == pytest.approx([3.0, 3.0])
    assert (Measure.CPU, Statistic.DAY) not in figures
    assert (Measure.CPU, Statistic.TAIL) not in figures


def test_what_was_scaled_has_no_level(rng: np.random.Generator) -> None:
    part = healthy(rng, noise=0.1)
    scaled = Healthy(name="set", step_s=30.0, columns=part.columns, pieces=part.pieces, scaled=True)
    figures = describe([scaled])
    assert (Measure.CPU, Statistic.VARIATION) not in figures
    assert (Measure.CPU, Statistic.KURTOSIS) in figures


def test_series_in_which_nothing_happens_do_not_count(rng: np.random.Generator) -> None:
    columns = (Column(entity="a", measure=Measure.MEMORY),)
    still = Healthy(name="set", step_s=60.0, columns=columns, pieces=(np.full((300, 1), 0.5),))
    figures = describe([still])
    assert figures[Measure.MEMORY, Statistic.UNCHANGED] == [1.0]
    assert (Measure.MEMORY, Statistic.MINUTE) not in figures


def test_requests_one_by_one_are_described_where_there_are_any(rng: np.random.Generator) -> None:
    part = Healthy(
        name="set", step_s=60.0, columns=(), pieces=(), requests=(1.0 + rng.pareto(2.0, 9_000),)
    )
    figures = describe([part])
    assert figures[Measure.REQUESTS, Statistic.TAIL] == pytest.approx([2.0], rel=0.2)
    assert figures[Measure.REQUESTS, Statistic.QUANTILES] == pytest.approx([50**0.5], rel=0.15)


def test_a_difference_of_more_than_twice_is_bold(rng: np.random.Generator) -> None:
    real = describe([healthy(rng, noise=0.1)])
    worlds = {
        "calm": describe([healthy(rng, noise=0.02)]),
        "calmer": describe([healthy(rng, noise=0.01)]),
    }
    rows = compare("set", real, worlds)
    (row,) = (r for r in rows if (r.measure, r.statistic) == (Measure.CPU, Statistic.VARIATION))
    assert row.differs
    assert row.real.series == 2
    assert row.simulated.series == 4
    assert row.ratio == pytest.approx(0.0375 / 0.25, rel=0.15)
    assert dict(row.worlds) == pytest.approx({"calm": 0.05, "calmer": 0.025}, rel=0.15)
    table = summary(rows, [Statistic.VARIATION, Statistic.DAY])
    assert table.startswith("| measure | set | coefficient of variation |\n")
    assert "| cpu | set | **0.25 / 0.0" in table
    assert "| calm | calmer | ratio |" in details(rows)


def test_what_only_one_side_has_is_not_compared(rng: np.random.Generator) -> None:
    real = describe([healthy(rng, noise=0.1)])
    assert compare("set", real, {"empty": {}}) == []


def test_a_measure_of_unknown_meaning_is_compared_with_all_it_may_be() -> None:
    real = {(Measure.KPI, Statistic.VARIATION): [0.2]}
    world = {
        (Measure.TRAFFIC, Statistic.VARIATION): [0.1],
        (Measure.LATENCY, Statistic.VARIATION): [0.5],
        (Measure.CPU, Statistic.VARIATION): [9.0],
    }
    (row,) = compare("set", real, {"world": world})
    assert row.simulated.median == pytest.approx(0.3)
