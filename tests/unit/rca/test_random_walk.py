"""Where a walker that looks for the cause spends its time."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.plugins import load
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.rca.review import Review
from dos.testing.rankers import ranked, story

CHAIN = (
    ("payment", "latency_p95", 4.0, 0),
    ("orders", "latency_p95", 4.0, 1),
    ("frontend", "latency_p95", 4.0, 2),
)


def shares(case: Case, **keys: object) -> dict[str, float]:
    plugin = load(ROOM, "random_walk")
    scores = plugin.build(plugin.config.model_validate(keys)).score(case)
    return dict(zip(map(str, scores.entities), scores.score.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_the_walk_ends_at_the_callee_of_a_chain(seed: int) -> None:
    assert ranked("random_walk", story(*CHAIN, seed=seed))[0] == "payment"


def test_the_time_is_all_there_is() -> None:
    assert sum(shares(story(*CHAIN)).values()) == pytest.approx(1.0)
    assert set(shares(story(metrics=["requests"])).values()) == {0.0}


def test_without_a_graph_it_is_the_abnormality() -> None:
    case = story(*CHAIN, calls=None)
    review = Review.of(case)
    wanted = review.ailing / review.ailing.sum()
    assert np.allclose(list(shares(case).values()), wanted)


def test_with_nothing_but_restarts_the_graph_does_not_matter() -> None:
    alone, linked = shares(story(*CHAIN, calls=None)), shares(story(*CHAIN), restart=1.0)
    assert linked == pytest.approx(alone)


def test_it_is_at_rest_where_it_stays() -> None:
    """The shares are the fixed point of the walk, computed here as a matrix."""
    case, back, restart = story(*CHAIN), 0.1, 0.15
    review = Review.of(case)
    ill, callees = review.ailing, review.callees()
    step = np.zeros((len(ill), len(ill)))
    for caller, below in enumerate(callees):
        step[caller, caller] += max(ill[caller] - max((ill[one] for one in below), default=0), 0)
        for one in below:
            step[caller, one] += ill[one]
            step[one, caller] += back * ill[caller]
    for at in np.flatnonzero(step.sum(axis=1) == 0):
        step[at, at] = 1.0
    step /= step.sum(axis=1, keepdims=True)
    home = ill / ill.sum()
    rest = np.linalg.solve(np.eye(len(ill)) - (1 - restart) * step.T, restart * home)
    assert np.allclose(list(shares(case).values()), rest / rest.sum(), atol=1e-8)


def test_who_is_asked_for_less_is_no_place_to_go() -> None:
    wrong = (("orders", "latency_p95", 6.0, 0), ("payment", "requests", 0.05, 0))
    assert ranked("random_walk", story(*wrong))[0] == "orders"
