"""How far a series is from its normal, said in three ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from dos.kit.clock import MINUTE, Millis
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, SeriesSpec
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.rca.measure import measure
from dos.rca.shift import (
    PRIOR_SHIFT,
    TAIL_OF_NORMAL,
    as_sigmas,
    change_evidence,
    tail_evidence,
)
from dos.testing.rankers import concluded, ranked, story

METHODS = ("robust_z", "bayesian_change_point", "extreme_value")


def case_of(*columns: Float64Array, start: int) -> Case:
    values = np.column_stack(columns)
    return Case(
        times=np.arange(len(values), dtype=np.int64) * MINUTE,
        values=values,
        series=tuple(
            SeriesSpec(entity=EntityId(f"e{i}"), metric=f"m{i}") for i in range(values.shape[1])
        ),
        start=Millis(start * MINUTE),
        end=Millis((len(values) - 1) * MINUTE),
    )


def noise(count: int, seed: int = 0) -> Float64Array:
    return np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_the_furthest_is_first_by_any_method(method: str, seed: int) -> None:
    case = story(("payment", "cpu", 4.0, 0), ("orders", "cpu", 1.4, 0), seed=seed)
    assert ranked("deviation", case, method=method)[:2] == ["payment", "orders"]


@pytest.mark.parametrize("method", METHODS)
def test_health_is_unknown_by_any_method(method: str) -> None:
    assert concluded("deviation", story(), method=method).top is None


def test_there_is_no_other_method() -> None:
    with pytest.raises(ValidationError, match="robust_z"):
        load(ROOM, "deviation").config.model_validate({"method": "guess"})


def test_the_method_says_what_its_number_means() -> None:
    case = story(("payment", "cpu", 1.4, 0))
    texts = [concluded("deviation", case, method=m).ranked[0].evidence[0].text for m in METHODS]
    assert "log Bayes factor" in texts[1]
    assert "healthy samples are as far off" in texts[2]
    assert "Bayes" not in texts[0]


def test_a_bayes_factor_is_the_integral_over_time_and_size_of_the_change() -> None:
    """Against brute force: normal likelihoods, summed over times and integrated over levels."""
    column = 100 + noise(200)
    column[190:] += 1.5
    case = case_of(column, start=188)
    measured = measure(case)
    found = change_evidence(case, measured)[0]
    baseline, suspect = case.windows()
    z = (case.values[:, 0] - measured.center[0]) / measured.scale[0]
    past, after = z[baseline[:, 0]], z[suspect[:, 0]]
    pairs = (past[1:] * past[:-1]).sum() / ((past[1:] ** 2 + past[:-1] ** 2).sum() / 2)
    alike = np.clip(pairs * (len(past) - 1) / (len(past) + 9), 0.0, 0.95)
    wider = (1 + alike) / (1 - alike)
    levels = np.linspace(-60, 60, 240_001)
    prior = np.exp(-0.5 * (levels / PRIOR_SHIFT) ** 2) / (PRIOR_SHIFT * np.sqrt(2 * np.pi))
    factors = []
    for since in range(len(after)):
        n, total = (len(after) - since) / wider, after[since:].sum() / wider
        likelihood = np.exp(levels * total - 0.5 * n * levels**2)
        factors.append((prior * likelihood).sum() * (levels[1] - levels[0]))
    assert found == pytest.approx(np.log(np.mean(factors)), abs=1e-3)


def test_noise_with_a_memory_proves_less() -> None:
    wandering = np.zeros(300)
    for at, step in enumerate(noise(300)):
        wandering[at] = 0.9 * wandering[max(at - 1, 0)] + step
    plain = noise(300, 1) * wandering.std()
    for column in (wandering, plain):
        column[280:] += 8.0
    case = case_of(wandering, plain, start=280)
    remembered, forgotten = change_evidence(case, measure(case))
    assert remembered < 0.5 * forgotten


def test_a_lasting_shift_is_more_evident_than_a_short_one() -> None:
    short, lasting = noise(200), noise(200, 1)
    short[198:] += 5
    lasting[180:] += 5
    case = case_of(short, lasting, start=180)
    few, many = change_evidence(case, measure(case))
    assert many > 3 * few > 0


def test_a_tail_is_as_rare_as_a_normal_distribution_says() -> None:
    column = noise(5000)
    column[4900:] += 6.0
    case = case_of(column, start=4900)
    measured = measure(case)
    away = abs(float((measured.observed - measured.center)[0] / measured.scale[0]))
    by_exponential = -np.log(0.1) + (away - 1.645) / TAIL_OF_NORMAL
    assert tail_evidence(case, measured)[0] == pytest.approx(by_exponential, rel=0.15)


def test_a_heavy_tail_makes_the_same_distance_less_rare() -> None:
    light = noise(3000)
    heavy = np.random.default_rng(2).standard_t(2, 3000)
    heavy *= (
        measure(case_of(light, start=2990)).scale[0] / measure(case_of(heavy, start=2990)).scale[0]
    )
    for column in (light, heavy):
        column[2990:] = 9.0
    case = case_of(light, heavy, start=2990)
    rare, less = tail_evidence(case, measure(case))
    assert less < 0.6 * rare


def test_nothing_off_is_no_evidence() -> None:
    case = case_of(np.full(50, 7.0), np.full(50, np.nan), start=40)
    measured = measure(case)
    assert tail_evidence(case, measured).tolist() == [0.0, 0.0]
    assert as_sigmas(change_evidence(case, measured)).tolist() == [0.0, 0.0]
    empty = replace(case, times=case.times[:0], values=case.values[:0])
    assert tail_evidence(empty, measure(empty)).tolist() == [0.0, 0.0]
    assert change_evidence(empty, measure(empty)).tolist() == [0.0, 0.0]


def test_sigmas_and_evidence_are_those_of_a_normal_sample() -> None:
    assert as_sigmas(np.array([8.0, -1.0])).tolist() == [4.0, 0.0]
