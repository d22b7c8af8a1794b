from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.model.rootcause import FaultKind
from dos.rca.examples import KINDS, Cause, Example
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS
from dos.rca.verdict import COVERAGE, Verdict, chances, fit_share, fit_temperature, likely


def verdict(
    odds: list[float], right: tuple[int, ...] = (0,), none: float = 0.0, causes: int = 1
) -> Verdict:
    entity = np.zeros((len(odds), 1 + len(KINDS)))
    entity[:, 0] = odds
    entity[:, 1 + KINDS.index(FaultKind.DISK)] = 1.0
    example = Example(
        node=np.zeros((len(odds), len(NODE_INPUTS)), np.float16),
        edges=np.zeros((2, 0), np.int64),
        edge=np.zeros((0, len(EDGE_INPUTS)), np.float16),
        causes=(Cause(entities=right, kind=FaultKind.DISK),) * causes,
        group=0,
    )
    return Verdict(example=example, entity=entity, none=none)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(-50, 50))
def test_probabilities_sum_to_one_and_keep_the_order(odds: list[float], none: float) -> None:
    values = np.array(odds)
    for temperature in (0.5, 1.0, 4.0):
        probability, unknown = chances(values, none, temperature)
        assert probability.sum() + unknown == pytest.approx(1.0)
        order = np.argsort(values, kind="stable")
        assert (np.diff(probability[order]) >= -1e-12).all()


@pytest.mark.parametrize(
    ("probability", "unknown", "share", "listed"),
    [
        ([0.7, 0.2, 0.05], 0.05, 0.6, (0,)),
        ([0.7, 0.2, 0.05], 0.05, 0.85, (0, 1)),
        ([0.05, 0.2, 0.7], 0.05, 0.85, (2, 1)),
        ([0.1, 0.1], 0.8, 0.75, ()),  # "none of these" fills the set alone
        ([0.1, 0.1], 0.8, 0.85, (0,)),
        ([1.0], 0.0, 0.9, (0,)),
        ([], 1.0, 0.9, ()),
    ],
)
def test_the_set_of_likely_ones_is_the_smallest_that_reaches_its_share(
    probability: list[float], unknown: float, share: float, listed: tuple[int, ...]
) -> None:
    assert likely(np.array(probability), unknown, share) == listed


def test_places_count_ties_at_the_worst() -> None:
    assert verdict([3.0, 1.0, 2.0]).place == 1
    assert verdict([3.0, 3.0, 2.0]).place == 2
    assert verdict([1.0, 2.0, 3.0], right=(0, 1)).place == 2
    assert verdict([1.0, 2.0, 3.0], right=()).place == 4
    assert verdict([3.0, 1.0]).kind_is_right
    assert verdict([3.0, 1.0], none=4.0).abstains
    assert not verdict([3.0, 1.0], none=2.0).abstains
    assert verdict([3.0, 1.0, 2.0], right=(1,)).all_within(3)
    assert not verdict([3.0, 1.0, 2.0, 2.5], right=(1,)).all_within(3)


def test_the_temperature_makes_as_sure_as_is_right() -> None:
    """Log-odds that are three times too large are divided by about three."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(600):
        odds = rng.normal(0.0, 2.0, 5)
        probability, _ = chances(odds, -50.0, 1.0)
        right = int(rng.choice(5, p=probability / probability.sum()))
        made.append(verdict((3.0 * odds).tolist(), right=(right,), none=-150.0))
    assert fit_temperature(made) == pytest.approx(3.0, rel=0.15)


def test_the_share_holds_the_cause_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)

    def some(count: int) -> list[Verdict]:
        made = []
        for _ in range(count):
            odds = rng.normal(0.0, 1.5, 6)
            probability, _ = chances(odds, -50.0, 1.0)
            right = int(rng.choice(6, p=probability / probability.sum()))
            made.append(verdict((2.0 * odds).tolist(), right=(right,), none=-150.0))  # too sure
        return made

    share = fit_share(some(800))
    held = [next(iter(one.right)) in likely(*one.chances, share) for one in some(800)]
    assert np.mean(held) == pytest.approx(COVERAGE, abs=0.035)


def test_where_the_first_is_always_right_it_is_the_whole_set() -> None:
    share = fit_share([verdict([4.0, 0.0, 1.0]) for _ in range(50)])
    assert likely(np.array([0.7, 0.1, 0.1]), 0.1, share) == (0,)
    assert likely(np.array([0.2, 0.1]), 0.7, share) == ()
