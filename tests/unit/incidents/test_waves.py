"""A second trouble beside an open incident: when it is told of as one of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dos.incidents.correlate import Correlator
from dos.incidents.waves import dependents, sinks
from dos.model.entity import Entity
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.incident import IncidentReason
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import Timeline, anomaly, graph_of

LATENCY, ERRORS, TRAFFIC, SATURATION = Role.LATENCY, Role.ERRORS, Role.TRAFFIC, Role.SATURATION
SHOP = graph_of("gateway > cart > cart-db", "gateway > stock > stock-db")


def hosted(name: str, graph: GraphSnapshot) -> GraphSnapshot:
    """`graph` with a machine that runs `name` and `cart`."""
    node = EntityId("node")
    runs = [Edge(caller=EntityId(one), callee=node, kind=EdgeKind.HOST) for one in (name, "cart")]
    entities = (*graph.entities, Entity(id=node))
    return GraphSnapshot(entities=entities, edges=(*graph.edges, *runs))


def broken_cart() -> Timeline:
    """An incident that began in `cart` and that the gateway feels."""
    timeline = Timeline(SHOP)
    timeline.begin(
        anomaly("cart", 0, ERRORS, strength=4),
        anomaly("cart", 0, LATENCY, strength=4),
        anomaly("gateway", 3, ERRORS),
    )
    (first,) = timeline.tick(10)
    assert set(first.entities) == {"cart", "gateway"}
    return timeline


def test_a_later_onset_with_a_root_of_its_own_is_a_second_incident() -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("stock-db", 90, LATENCY, strength=4),
        anomaly("stock", 92, LATENCY),
        anomaly("stock-db", 91, SATURATION),
    )
    (second,) = timeline.tick(100)
    assert second.reason is IncidentReason.CORROBORATED
    assert set(second.entities) == {"stock-db", "stock"}
    assert len(timeline.correlator.open) == 2
    assert timeline.ticks(range(105, 300, 5)) == [], "they are not merged again"


def test_the_first_is_over_when_its_own_trouble_is() -> None:
    timeline = broken_cart()
    timeline.begin(anomaly("stock-db", 90, LATENCY), anomaly("stock-db", 90, ERRORS))
    (second,) = timeline.tick(100)
    timeline.end(110, ("cart", ERRORS), ("cart", LATENCY), ("gateway", ERRORS))
    over = timeline.ticks(range(110, 160, 5))
    assert [one.id != second.id for one in over] == [True]
    assert [one.id for one in timeline.correlator.open] == [second.id]


@pytest.mark.parametrize("seconds", [5, 15])
def test_what_begins_at_about_the_same_time_is_one_trouble(seconds: float) -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("stock-db", seconds, LATENCY, strength=4), anomaly("stock-db", seconds, ERRORS)
    )
    (grown,) = timeline.tick(seconds + 5)
    assert grown.reason is IncidentReason.GREW
    assert "stock-db" in grown.entities


def test_callers_that_slowly_feel_what_is_ill_are_part_of_it() -> None:
    timeline = Timeline(SHOP)
    timeline.begin(anomaly("cart-db", 0, LATENCY), anomaly("cart-db", 0, ERRORS))
    timeline.tick(5)
    timeline.begin(
        anomaly("cart", 200, ERRORS, strength=1.2), anomaly("cart", 200, LATENCY, strength=1.5)
    )
    (grown,) = timeline.ticks(range(205, 230, 5))
    assert grown.entities == ("cart-db", "cart")


def test_a_strong_onset_in_a_caller_is_not_explained_by_what_was_ill_all_along() -> None:
    timeline = Timeline(SHOP)
    timeline.begin(anomaly("cart-db", 0, LATENCY), anomaly("cart-db", 0, ERRORS))
    timeline.tick(5)
    timeline.begin(anomaly("cart", 200, ERRORS, strength=8), anomaly("cart", 200, LATENCY))
    (second,) = timeline.tick(205)
    assert second.entities == ("cart",)


def test_a_turn_for_the_worse_below_explains_what_comes_above() -> None:
    timeline = Timeline(SHOP)
    timeline.begin(anomaly("cart-db", 0, LATENCY), anomaly("cart-db", 0, ERRORS))
    timeline.tick(5)
    worse = anomaly("cart-db", 0, ERRORS, strength=9, lag=195)
    assert timeline.correlator.worsened(worse)
    timeline.begin(anomaly("cart", 200, ERRORS, strength=8), anomaly("cart", 200, LATENCY))
    timeline.tick(205)
    assert len(timeline.correlator.open) == 1


def test_users_who_come_in_crowds_are_no_doing_of_what_lies_behind() -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("gateway", 120, TRAFFIC, strength=4), anomaly("gateway", 120, LATENCY, strength=3)
    )
    timeline.tick(125)
    assert len(timeline.correlator.open) == 2


def test_load_that_the_incident_brings_explains_what_comes_of_it() -> None:
    timeline = broken_cart()
    timeline.begin(anomaly("cart-db", 20, TRAFFIC, strength=3))
    timeline.tick(25)
    timeline.begin(anomaly("cart-db", 120, LATENCY, strength=3), anomaly("cart-db", 120, ERRORS))
    timeline.tick(130)
    assert len(timeline.correlator.open) == 1, "retries wear the store out"


def test_a_relapse_is_no_second_trouble() -> None:
    timeline = broken_cart()
    timeline.end(20, ("gateway", ERRORS), ("cart", ERRORS), ("cart", LATENCY)).tick(25)
    timeline.begin(
        anomaly("cart", 45, ERRORS, metric="error_ratio"), anomaly("gateway", 45, ERRORS)
    )
    timeline.tick(50)
    assert len(timeline.correlator.open) == 1


def test_what_is_not_explained_waits_until_it_is_corroborated() -> None:
    timeline = broken_cart()
    timeline.begin(anomaly("stock", 90, LATENCY, strength=1.2))
    assert timeline.ticks(range(95, 200, 5)) == []
    timeline.begin(anomaly("stock", 200, ERRORS, strength=1.9))
    assert timeline.ticks([205]) == [], "beside a caller that is ill it has to be clear"
    timeline.begin(anomaly("stock", 210, SATURATION, strength=2.1))
    (second,) = timeline.tick(215)
    assert second.entities == ("stock",)


def test_what_has_no_call_in_common_with_the_first_need_not_be_clear() -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("stock-db", 200, LATENCY, strength=1.2),
        anomaly("stock-db", 200, ERRORS, strength=1.9),
    )
    (second,) = timeline.tick(205)
    assert second.entities == ("stock-db",)


def test_who_seldom_calls_what_fails_notices_late() -> None:
    timeline = broken_cart()
    timeline.begin(anomaly("gateway", 200, ERRORS, metric="error_ratio", strength=20))
    assert timeline.ticks(range(205, 300, 5)) == []
    assert len(timeline.correlator.open) == 1


@pytest.mark.parametrize(("strength", "incidents"), [(4, 1), (7, 2)])
def test_a_turn_for_the_worse_explains_nothing_far_worse(strength: float, incidents: int) -> None:
    timeline = Timeline(SHOP)
    timeline.begin(
        anomaly("cart-db", 0, LATENCY, strength=1.5), anomaly("cart-db", 0, ERRORS, strength=1.5)
    )
    timeline.tick(5)
    assert timeline.correlator.worsened(anomaly("cart-db", 0, ERRORS, strength=3, lag=195))
    timeline.begin(
        anomaly("cart", 200, LATENCY, strength=strength), anomaly("cart", 200, SATURATION)
    )
    timeline.tick(205)
    assert len(timeline.correlator.open) == incidents


def test_who_is_called_more_by_a_part_of_the_incident_is_one_too() -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("cart", 200, TRAFFIC, strength=1.5),
        anomaly("cart-db", 200, LATENCY, strength=4),
        anomaly("cart-db", 200, SATURATION, strength=4),
    )
    (grown,) = timeline.tick(205)
    assert "cart-db" in grown.entities
    assert len(timeline.correlator.open) == 1


@pytest.mark.parametrize(("strength", "incidents"), [(1.2, 2), (3, 1)])
def test_a_machine_that_works_a_little_harder_is_no_cause(strength: float, incidents: int) -> None:
    timeline = Timeline(hosted("stock-db", SHOP))
    timeline.begin(
        anomaly("cart", 0, ERRORS, strength=4),
        anomaly("cart", 0, LATENCY, strength=4),
        anomaly("node", 8, SATURATION, metric="cpu_usage", strength=1.1),
    )
    timeline.tick(10)
    worse = anomaly("node", 8, SATURATION, metric="cpu_usage", strength=strength, lag=82)
    assert timeline.correlator.worsened(worse)
    timeline.begin(
        anomaly("stock-db", 95, LATENCY, strength=2), anomaly("stock-db", 95, SATURATION)
    )
    timeline.ticks(range(100, 130, 5))
    assert len(timeline.correlator.open) == incidents


@pytest.mark.parametrize(
    ("seconds", "strength", "observed", "joins"),
    [(8, 1.1, 0.6, True), (80, 1.1, 0.6, False), (80, 1.1, 0.9, True)],
)
def test_nobody_is_told_of_a_machine_with_time_to_spare(
    seconds: float, strength: float, observed: float, joins: bool
) -> None:
    timeline = Timeline(hosted("stock-db", SHOP))
    timeline.begin(anomaly("cart", 0, ERRORS, strength=4), anomaly("cart", 0, LATENCY, strength=4))
    timeline.tick(5)
    busy = anomaly("node", seconds, SATURATION, metric="cpu_usage", strength=strength)
    timeline.begin(replace(busy, observed=observed, expected=0.5))
    timeline.ticks(range(85, 100, 5))
    told = {name for one in timeline.correlator.open for name in one.entities}
    assert ("node" in told) is joins


def test_what_comes_of_a_leak_is_part_of_it() -> None:
    timeline = Timeline(hosted("stock-db", SHOP))
    timeline.begin(anomaly("cart", 0, SATURATION, metric="memory_usage", strength=3))
    timeline.begin(anomaly("node", 3, SATURATION, metric="memory_usage", strength=1.5))
    timeline.ticks(range(5, 65, 5))
    assert len(timeline.correlator.open) == 1
    timeline.begin(anomaly("cart", 120, ERRORS, strength=9), anomaly("cart", 120, LATENCY))
    timeline.ticks(range(125, 140, 5))
    assert len(timeline.correlator.open) == 1


def test_side_effects_that_nobody_feels_join() -> None:
    timeline = broken_cart()
    timeline.begin(anomaly("stock", 200, SATURATION, strength=1.5))
    assert [one.entities[-1] for one in timeline.tick(205)] == ["stock"]


def test_slow_sources_get_more_slack() -> None:
    timeline = broken_cart()
    timeline.begin(
        anomaly("stock-db", 120, LATENCY, lag=60), anomaly("stock-db", 120, ERRORS, lag=60)
    )
    timeline.tick(180)
    assert len(timeline.correlator.open) == 1, "at a sample a minute that is the same time"


def test_a_restart_between_the_two_changes_nothing() -> None:
    straight, restarted = broken_cart(), broken_cart()
    data = restarted.correlator.dump()
    restarted.correlator = Correlator(restarted.config)
    restarted.correlator.load(data)
    for timeline in (straight, restarted):
        timeline.begin(anomaly("stock-db", 90, LATENCY), anomaly("stock-db", 90, ERRORS))
        timeline.ticks([95, 100])
    assert restarted.changed == straight.changed
    assert restarted.correlator.dump() == straight.correlator.dump()


def test_sinks_are_where_trouble_began() -> None:
    names = {EntityId(one) for one in ("gateway", "cart", "stock-db")}
    assert set(sinks(SHOP, names)) == {"cart", "stock-db"}
    ring = graph_of("a > b", "b > a")
    assert set(sinks(ring, {EntityId("a"), EntityId("b")})) == {"a", "b"}


def test_dependents_stay_among_the_ill() -> None:
    ill = {EntityId(one) for one in ("gateway", "stock-db", "cart")}
    assert dependents(SHOP, [EntityId("stock-db")], ill) == {"stock-db"}, "stock is well"
    assert dependents(SHOP, [EntityId("cart")], ill) == {"cart", "gateway"}
