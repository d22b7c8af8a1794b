"""What fellow callees and floods of requests account for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.rca.case import Case
from dos.rca.explained import flooded
from dos.rca.measure import measure
from dos.rca.suspicion import Suspicion, Weights, series_strength, suspect
from dos.testing.rankers import CALLS, story

ADDRESSED = (*CALLS, ("orders", "payment-address"))


def _with_address(case: Case, *, outside: bool = True) -> Case:
    """The catalogue's database stands in for an address that orders call as well."""
    graph = case.graph
    assert graph is not None
    renamed = tuple(
        replace(one, entity=EntityId("payment-address")) if one.entity == "catalogue-db" else one
        for one in case.series
    )
    entities = tuple(
        replace(one, kind=EntityKind.EXTERNAL if outside else EntityKind.SERVICE)
        if one.id == "payment-address"
        else one
        for one in graph.entities
    )
    return replace(case, series=renamed, graph=replace(graph, entities=entities))


def _suspicion(case: Case) -> Suspicion:
    return suspect(case, measure(case), Weights())


def _first(case: Case) -> str:
    found = _suspicion(case)
    return str(found.entities[int(np.argmax(found.score))])


SLOW = (
    ("payment", "latency_p95", 3.0, 0),
    ("catalogue-db", "latency_p95", 6.0, 0),
    ("orders", "latency_p95", 2.0, 1),
)


def test_an_address_is_explained_by_the_service_that_shows_the_same() -> None:
    case = _with_address(story(*SLOW, calls=ADDRESSED))
    found = _suspicion(case)
    address = found.entities.index(EntityId("payment-address"))
    assert found.explainer[address] == "payment"
    assert found.explained[address] > 0.8
    assert _first(case) == "payment"


def test_a_service_is_not_explained_by_another_that_its_caller_calls() -> None:
    case = _with_address(story(*SLOW, calls=ADDRESSED), outside=False)
    assert _first(case) == "payment-address"


def test_a_third_party_that_alone_is_slow_is_to_blame() -> None:
    case = _with_address(story(SLOW[1], SLOW[2], calls=ADDRESSED))
    assert _first(case) == "payment-address"


def test_who_is_asked_many_times_as_often_is_slow_for_that() -> None:
    slow = (("users-db", "latency_p95", 5.0, 0), ("orders", "latency_p95", 1.8, 0))
    assert _first(story(*slow)) == "users-db"
    asked = story(*slow, ("users-db", "requests", 30.0, 0), metrics=("latency_p95", "requests"))
    assert _first(asked) == "orders"


def test_how_far_a_flood_explains() -> None:
    def of(factor: float) -> float:
        case = story(("payment", "requests", factor, 0))
        measured = measure(case)
        entities = case.entities()
        owner = np.array([entities.index(one.entity) for one in case.series], np.int64)
        strength = series_strength(measured, case.series)
        out = flooded(case, measured, strength, owner, entities)
        assert not np.delete(out, entities.index(EntityId("payment"))).any()
        return float(out[entities.index(EntityId("payment"))])

    assert of(1.0) == 0.0
    assert of(3.0) == 0.0  # a busy hour
    assert 0.2 < of(8.0) < 0.8
    assert of(40.0) == 1.0
    assert of(0.1) == 0.0
