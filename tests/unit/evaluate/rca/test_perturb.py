"""Perturbed cases: how much changes, that it is seeded, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dos.evaluate.rca import perturb
from dos.kit.clock import Millis
from dos.model.change import Change, ChangeKind
from dos.model.ids import ChangeId, EntityId
from dos.model.telemetry import SeriesSpec
from dos.rca.case import Case
from tests.unit.evaluate.rca.made import latencies

NAMES = [f"s{at:02}" for at in range(20)]
CALLS = [(NAMES[at], NAMES[at + step]) for step in (1, 2, 3) for at in range(20 - step)][:50]
assert len(CALLS) == 50


def given() -> Case:
    change = Change(
        id=ChangeId("c"),
        at=Millis(0),
        kind=ChangeKind.DEPLOY,
        entity=EntityId("s00"),
        summary="v2",
    )
    return replace(latencies(dict.fromkeys(NAMES, 0.0), calls=CALLS), changes=(change,))


def edges(case: Case) -> set[tuple[str, str]]:
    assert case.graph is not None
    return {(str(one.caller), str(one.callee)) for one in case.graph.edges}


def test_three_of_ten_edges_go_and_no_entity() -> None:
    case = given()
    fewer = perturb.fewer_edges(case, "1/0")
    assert len(edges(fewer)) == 35
    assert edges(fewer) < edges(case)
    assert fewer.graph is not None
    assert case.graph is not None
    assert fewer.graph.entities == case.graph.entities


def test_a_tenth_of_edges_comes_in_and_none_twice() -> None:
    case = given()
    more = perturb.more_edges(case, "1/0")
    assert edges(more) > edges(case)
    assert len(edges(more)) == 55
    assert more.graph is not None
    assert len(more.graph.edges) == 55
    assert all(one.caller != one.callee for one in more.graph.edges)


def test_a_graph_that_is_full_stays_as_it_is() -> None:
    calls = [("a", "b"), ("b", "a")] * 5
    case = latencies({"a": 0.0, "b": 0.0}, calls=calls)
    assert edges(perturb.more_edges(case, "x")) == {("a", "b"), ("b", "a")}


def test_a_fifth_of_series_goes_missing_with_its_values() -> None:
    case = given()
    fewer = perturb.fewer_series(case, "1/0")
    assert len(fewer.series) == 16
    for at, spec in enumerate(fewer.series):
        np.testing.assert_array_equal(fewer.values[:, at], case.values[:, case.series.index(spec)])


def test_what_is_drawn_is_the_cases_own_and_the_same_again() -> None:
    case = given()
    for change in (perturb.fewer_edges, perturb.more_edges):
        assert edges(change(case, "1/0")) == edges(change(case, "1/0"))
        assert edges(change(case, "1/0")) != edges(change(case, "1/1"))
    assert perturb.fewer_series(case, "a").series == perturb.fewer_series(case, "a").series
    assert perturb.fewer_series(case, "a").series != perturb.fewer_series(case, "b").series


def test_the_graph_or_the_changes_are_taken_away() -> None:
    case = given()
    assert perturb.no_graph(case, "x").graph is None
    assert perturb.no_graph(case, "x").changes == case.changes
    assert perturb.no_changes(case, "x").changes == ()
    assert perturb.no_changes(case, "x").graph is case.graph


def test_without_a_graph_its_edges_cannot_change() -> None:
    case = replace(given(), graph=None)
    assert perturb.fewer_edges(case, "x") is case
    assert perturb.more_edges(case, "x") is case


def test_traces_are_left_out_by_what_the_reader_calls_them() -> None:
    case = given()
    of_traces = SeriesSpec(
        entity=EntityId("s00"), metric="trace_self_seconds_p95", role=case.series[0].role
    )
    told = replace(case, series=(of_traces, *case.series[1:]))
    assert perturb.no_traces(told).series == case.series[1:]
    assert perturb.no_traces(told).values.shape == (51, 19)
