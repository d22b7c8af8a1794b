"""What is left of an entity's trouble when that of its callees is taken away."""

from __future__ import annotations

import pytest

from dos.kit.plugins import load
from dos.model.rootcause import EvidenceKind, Stance
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.testing.rankers import CALLS, concluded, ranked, story

SLOW = ("latency_p95", 6.0)
CHAIN = (("payment", *SLOW, 0), ("orders", *SLOW, 0), ("frontend", *SLOW, 0))


def scores(case: Case) -> dict[str, float]:
    plugin = load(ROOM, "attribution")
    found = plugin.build(plugin.config()).score(case)
    return dict(zip(map(str, found.entities), found.score.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_callers_that_wait_as_long_have_little_of_their_own(seed: int) -> None:
    found = scores(story(*CHAIN, seed=seed))
    assert found["payment"] > 1.0 + max(found["orders"], found["frontend"])


def test_a_caller_that_takes_longer_than_its_callee_is_to_blame_for_the_rest() -> None:
    case = story(("payment", "latency_p95", 1.5, 0), ("orders", "latency_p95", 20.0, 0))
    assert ranked("attribution", case)[0] == "orders"
    (text,) = [
        one.text
        for one in concluded("attribution", case).ranked[0].evidence
        if one.kind is EvidenceKind.DEPENDENCIES_NORMAL
    ]
    assert text.startswith("what it calls does not explain 9")
    assert "of the change of its latency (" in text


def test_without_calls_all_is_its_own() -> None:
    found = scores(story(*CHAIN, calls=None))
    assert found["payment"] == pytest.approx(found["orders"], rel=0.15)


def test_resources_are_never_explained_away() -> None:
    case = story(*CHAIN, ("orders", "cpu", 3.0, 0))
    assert scores(case)["orders"] >= 0.9 * scores(story(("orders", "cpu", 3.0, 0)))["orders"]


def test_failures_are_passed_on_too() -> None:
    failing = [(name, "error_ratio", 60.0, 0) for name in ("payment", "orders", "frontend")]
    assert ranked("attribution", story(*failing, metrics=["error_ratio"]))[0] == "payment"


def test_what_is_explained_speaks_against() -> None:
    cause = concluded("attribution", story(*CHAIN, ("orders", "cpu", 1.6, 0)))
    orders = next(one for one in cause.ranked if one.entity == "orders")
    against = [one for one in orders.evidence if one.stance is Stance.AGAINST]
    assert any("is explained by what it calls" in one.text for one in against)
    assert ("orders", "payment") in CALLS
