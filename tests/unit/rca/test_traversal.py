"""Abnormal, with no abnormal dependency; and rings of calls."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.rca.components import components
from dos.testing.rankers import CALLS, concluded, graph_of, ranked, story

SLOW = ("latency_p95", 6.0)
CHAIN = (("payment", *SLOW, 0), ("orders", *SLOW, 1), ("frontend", *SLOW, 2))


def tiers(case: Case) -> dict[str, int]:
    plugin = load(ROOM, "traversal")
    scores = plugin.build(plugin.config()).score(case)
    return dict(zip(map(str, scores.entities), scores.score.astype(int).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_the_trail_ends_at_the_callee(seed: int) -> None:
    case = story(*CHAIN, seed=seed)
    assert ranked("traversal", case) == ["payment"]
    found = tiers(case)
    assert (found["payment"], found["orders"], found["frontend"]) == (3, 1, 1)
    assert found["catalogue"] == 0


def test_an_end_that_the_alarm_does_not_lead_to_stands_behind() -> None:
    case = story(*CHAIN, ("catalogue-db", "latency_p95", 30.0, 0))
    aimed = replace(case, target=(EntityId("orders"), "latency"))
    assert set(ranked("traversal", case)) == {"payment", "catalogue-db"}
    assert ranked("traversal", aimed) == ["payment"]
    assert tiers(aimed)["catalogue-db"] == 2


def test_an_alarm_on_something_unknown_leads_nowhere_and_is_passed_over() -> None:
    case = replace(story(*CHAIN), target=(EntityId("nobody"), None))
    assert ranked("traversal", case) == ["payment"]


def test_a_callee_that_is_far_less_abnormal_does_not_take_the_blame() -> None:
    case = story(("orders", "latency_p95", 40.0, 0), ("payment", "latency_p95", 1.6, 0))
    assert ranked("traversal", case)[0] == "orders"
    assert ranked("traversal", case, passes=0.0)[0] == "payment"


def test_a_ring_is_an_end_together() -> None:
    ring = graph_of((*CALLS, ("payment", "orders")))
    case = replace(story(*CHAIN), graph=ring)
    assert set(ranked("traversal", case)) == {"payment", "orders"}
    out = replace(case, graph=graph_of((*CALLS, ("payment", "orders"), ("orders", "catalogue"))))
    slow = story(*CHAIN, ("catalogue", *SLOW, 0))
    assert ranked("traversal", replace(slow, graph=out.graph)) == ["catalogue"]


def test_evidence_names_what_stayed_normal() -> None:
    case = story(("orders", *SLOW, 0))
    (found,) = [one for one in concluded("traversal", case).ranked if one.entity == "orders"]
    assert (
        found.evidence[0].text
        == "it is abnormal, and nothing that it calls is nearly so: payment, users-db"
    )


def test_components_are_those_of_reachability_both_ways() -> None:
    rng = Random(1)
    for _ in range(200):
        count = rng.randint(0, 9)
        onward = [[j for j in range(count) if rng.random() < 0.2] for _ in range(count)]
        reach = np.eye(count, dtype=bool)
        for at, there in enumerate(onward):
            reach[at, there] = True
        for middle in range(count):
            reach |= np.outer(reach[:, middle], reach[middle])
        found = components(onward)
        assert ((found[:, None] == found[None, :]) == (reach & reach.T)).all()


def test_a_long_chain_of_calls_needs_no_recursion() -> None:
    count = 20_000
    found = components([[at + 1] if at + 1 < count else [] for at in range(count)])
    assert len(set(found.tolist())) == count
