"""VUS, average precision and the window rule, against the reference implementations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.evaluate.series.vus import areas, average_precision, main_period, stretches, volumes
from tests.unit.evaluate.vus_cases import REFERENCE, labels, periodic, scored, uniform

FIGURES = json.loads(REFERENCE.read_text())
SCORED = {name: (marked, score, window) for name, marked, score, window in scored()}
PERIODIC = dict(periodic())


@pytest.mark.parametrize("name", SCORED)
def test_vus_is_that_of_tsb_ad_and_of_its_authors(name: str) -> None:
    expected = FIGURES["areas"][name]
    marked, score, window = SCORED[name]
    assert volumes(marked, score, window) == pytest.approx(expected["tsb-ad"], abs=1e-9)
    assert volumes(marked, score, window) == pytest.approx(expected["vus"], abs=1e-9)


@pytest.mark.parametrize("name", SCORED)
def test_average_precision_is_that_of_scikit_learn(name: str) -> None:
    marked, score, _ = SCORED[name]
    expected = FIGURES["areas"][name]["average precision"]
    assert average_precision(marked, score) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", PERIODIC)
def test_the_window_is_that_of_tsb_ad(name: str) -> None:
    assert main_period(PERIODIC[name]) == FIGURES["periods"][name]


def test_every_case_has_a_reference() -> None:
    assert FIGURES["areas"].keys() == SCORED.keys()
    assert FIGURES["periods"].keys() == PERIODIC.keys()


def test_without_anomalies_there_are_no_areas() -> None:
    score = uniform(1, 100)
    for marked in (np.zeros(100, np.bool_), np.ones(100, np.bool_)):
        found = areas(marked, score, 10)
        assert (found.vus_pr, found.vus_roc, found.auc_pr) == (None, None, None)


@given(
    seed=st.integers(0, 2**32),
    window=st.integers(0, 40),
    bounds=st.lists(st.integers(0, 199), min_size=2, max_size=8, unique=True),
)
def test_areas_depend_on_the_order_of_scores_only(
    seed: int, window: int, bounds: list[int]
) -> None:
    marked = labels(200, *zip(sorted(bounds)[::2], sorted(bounds)[1::2], strict=False))
    score = uniform(seed, 200)
    found = areas(marked, score, window)
    assert found == areas(marked, np.exp(3.0 * score) - 7.0, window)
    assert found.vus_pr is not None
    assert 0.0 <= found.vus_pr <= 1.0


def test_a_score_beside_a_label_counts_less_the_farther_it_is() -> None:
    marked = labels(500, (200, 220))
    shifted = [np.roll(marked * 1.0, by) for by in (0, 5, 15, 40)]
    worth = [volumes(marked, score, 60)[1] for score in shifted]
    assert worth == sorted(worth, reverse=True)
    assert worth[0] > worth[-1] + 0.2


def test_stretches_at_both_ends() -> None:
    first, last = stretches(np.array([True, False, False, True, True]))
    assert (first.tolist(), last.tolist()) == ([0, 3], [0, 4])
    assert not len(stretches(np.zeros(3, np.bool_))[0])
