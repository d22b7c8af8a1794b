"""The rules of correlation, each as a short timeline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from dos.incidents.correlate import Correlator, IncidentsConfig, title_of
from dos.kit.clock import Millis
from dos.model.anomaly import Direction
from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import EntityId, IncidentId
from dos.model.incident import IncidentReason, IncidentState
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import Timeline, anomaly, at, graph_of

LATENCY, ERRORS, TRAFFIC, SATURATION, OTHER = (
    Role.LATENCY,
    Role.ERRORS,
    Role.TRAFFIC,
    Role.SATURATION,
    Role.OTHER,
)
CHAIN = graph_of("gateway > cart > pricing > stock > db")


def test_quiet_is_no_incident() -> None:
    timeline = Timeline(CHAIN)
    assert timeline.ticks(range(0, 600, 15)) == []


def test_two_signals_one_of_them_felt_by_users_open_an_incident() -> None:
    timeline = Timeline(CHAIN).begin(anomaly("cart", 5, LATENCY, strength=1.1))
    assert timeline.tick(10) == []
    timeline.begin(anomaly("cart", 8, SATURATION, strength=1.1))
    (opened,) = timeline.tick(15)
    assert opened.state is IncidentState.OPEN
    assert opened.reason is IncidentReason.CORROBORATED
    assert (opened.began_at, opened.opened_at, opened.updated_at) == (at(5), at(15), at(15))
    assert opened.entities == ("cart",)
    assert len(opened.anomalies) == 2
    assert timeline.tick(20) == []


def test_two_signals_that_users_do_not_feel_are_not_enough() -> None:
    timeline = Timeline(CHAIN).begin(
        anomaly("cart", 0, SATURATION, metric="cpu", strength=1.5),
        anomaly("cart", 0, TRAFFIC, strength=1.5),
    )
    timeline.begin(anomaly("cart", 0, SATURATION, metric="connections", strength=1.5))
    timeline.begin(anomaly("pricing", 0, TRAFFIC, strength=9.0))
    assert timeline.ticks(range(0, 3600, 60)) == [], "more traffic is no trouble by itself"
    timeline.begin(anomaly("pricing", 3600, LATENCY, strength=1.9))
    assert timeline.tick(3601) == [], "more requests take a little longer"
    timeline.begin(anomaly("pricing", 3602, ERRORS, strength=1.1))
    assert len(timeline.tick(3605)) == 1, "now somebody feels it"


def test_percentiles_of_one_latency_are_one_signal() -> None:
    timeline = Timeline(CHAIN).begin(
        *(anomaly("cart", 0, LATENCY, metric=name, strength=1.5) for name in ("p50", "p95", "p99"))
    )
    assert timeline.ticks(range(0, 3600, 60)) == []


def test_the_same_signal_of_two_neighbours_is_two_signals() -> None:
    timeline = Timeline(CHAIN).begin(
        anomaly("cart", 0, LATENCY, strength=1.1), anomaly("pricing", 3, LATENCY, strength=1.1)
    )
    (opened,) = timeline.tick(5)
    assert opened.entities == ("cart", "pricing")


@pytest.mark.parametrize(
    ("strength", "opens_at"), [(1.9, None), (2.0, 60), (4.0, 30), (20.0, 6), (1e6, 5)]
)
def test_a_strong_signal_alone_has_to_last_the_longer_the_weaker_it_is(
    strength: float, opens_at: int | None
) -> None:
    timeline = Timeline(CHAIN).begin(anomaly("cart", 0, ERRORS, strength=strength))
    opened = timeline.ticks(range(5, 600))
    assert [one.opened_at for one in opened] == ([] if opens_at is None else [at(opens_at)])


@pytest.mark.parametrize(("role", "alone"), [(SATURATION, True), (TRAFFIC, False), (OTHER, False)])
def test_only_what_hurts_stands_alone(role: Role, alone: bool) -> None:
    timeline = Timeline(CHAIN).begin(anomaly("cart", 0, role, strength=8.0))
    assert bool(timeline.ticks(range(0, 600, 10))) is alone


def test_traffic_that_is_lost_stands_alone() -> None:
    lost = replace(anomaly("cart", 0, TRAFFIC, strength=8.0), direction=Direction.BELOW)
    opened = Timeline(CHAIN).begin(lost).ticks(range(0, 600, 5))
    assert [one.opened_at for one in opened] == [at(15)]


def test_a_strong_signal_that_ends_in_time_is_forgiven() -> None:
    timeline = Timeline(CHAIN).begin(anomaly("cart", 0, ERRORS, strength=2.0))
    assert timeline.ticks(range(0, 55, 5)) == []
    timeline.end(55, ("cart", ERRORS))
    assert timeline.ticks(range(55, 300, 5)) == []


@pytest.mark.parametrize(("other", "together"), [("stock", True), ("db", False)])
def test_what_is_near_belongs_together_and_what_is_far_does_not(other: str, together: bool) -> None:
    timeline = Timeline(CHAIN, max_distance=2).begin(
        anomaly("cart", 0, LATENCY, strength=1.5), anomaly(other, 0, ERRORS, strength=1.5)
    )
    assert bool(timeline.ticks(range(0, 600, 10))) is together


def test_a_chain_of_neighbours_is_one_cluster_however_long() -> None:
    timeline = Timeline(CHAIN, max_distance=1).begin(
        *(
            anomaly(name, second, LATENCY)
            for second, name in enumerate(("db", "stock", "pricing", "cart", "gateway"))
        )
    )
    (opened,) = timeline.tick(10)
    assert opened.entities == ("db", "stock", "pricing", "cart", "gateway"), "in order of onset"


def test_unconnected_troubles_are_two_incidents() -> None:
    timeline = Timeline(graph_of("shop > cart", "blog > posts")).begin(
        anomaly("cart", 0, LATENCY),
        anomaly("cart", 0, ERRORS),
        anomaly("posts", 1, LATENCY),
        anomaly("posts", 1, ERRORS),
    )
    opened = timeline.tick(5)
    assert [one.entities for one in opened] == [("cart",), ("posts",)]
    assert len({one.id for one in opened}) == 2


@pytest.mark.parametrize("well", [True, False])
def test_a_machine_connects_what_it_hosts_only_while_it_is_unwell(well: bool) -> None:
    hosted = [
        Edge(caller=EntityId(name), callee=EntityId("machine"), kind=EdgeKind.HOST)
        for name in ("cart", "posts")
    ]
    plain = graph_of("shop > cart", "blog > posts")
    machine = Entity(id=EntityId("machine"), kind=EntityKind.NODE)
    graph = GraphSnapshot(
        version=1, entities=(*plain.entities, machine), edges=(*plain.edges, *hosted)
    )
    timeline = Timeline(graph).begin(
        anomaly("cart", 0, LATENCY),
        anomaly("cart", 0, ERRORS),
        anomaly("posts", 1, LATENCY),
        anomaly("posts", 1, ERRORS),
    )
    if not well:
        timeline.begin(anomaly("machine", 0, SATURATION))
    assert len(timeline.tick(5)) == (2 if well else 1)


def test_an_entity_that_the_graph_does_not_know_is_its_own_neighbourhood() -> None:
    timeline = Timeline(CHAIN).begin(anomaly("new", 0, LATENCY), anomaly("new", 0, ERRORS))
    assert [one.entities for one in timeline.tick(1)] == [("new",)]


def opened(**config: float) -> Timeline:
    """An incident in `pricing`, open since 10 s."""
    timeline = Timeline(CHAIN, **config)
    timeline.begin(anomaly("pricing", 0, LATENCY), anomaly("pricing", 2, ERRORS))
    assert len(timeline.tick(10)) == 1
    return timeline


def test_neighbours_that_turn_abnormal_join_and_stay_in_the_history() -> None:
    timeline = opened()
    timeline.begin(anomaly("gateway", 20, TRAFFIC, strength=1.1))
    (grown,) = timeline.tick(25)
    assert grown.reason is IncidentReason.GREW
    assert grown.entities == ("pricing", "gateway")
    assert grown.updated_at == at(25)
    assert grown.opened_at == at(10)
    timeline.end(30, ("gateway", TRAFFIC))
    assert timeline.tick(35) == []
    assert timeline.correlator.open[0].entities == ("pricing", "gateway")


def test_neighbours_of_those_that_join_join_with_them() -> None:
    timeline = Timeline(CHAIN, max_distance=1)
    timeline.begin(anomaly("db", 0, LATENCY), anomaly("db", 0, ERRORS))
    timeline.tick(5)
    timeline.begin(anomaly("pricing", 10, ERRORS, strength=9), anomaly("stock", 11, LATENCY))
    assert [one.entities for one in timeline.tick(60)] == [("db", "pricing", "stock")]


def test_further_signals_of_the_same_entities_are_added_without_a_word() -> None:
    timeline = opened().begin(anomaly("pricing", 20, SATURATION))
    assert timeline.tick(25) == []
    assert len(timeline.correlator.open[0].anomalies) == 3


def test_far_trouble_opens_an_incident_of_its_own() -> None:
    timeline = Timeline(graph_of("a > b > c > d > e > f"))
    timeline.begin(anomaly("a", 0, LATENCY), anomaly("a", 0, ERRORS))
    timeline.tick(5)
    timeline.begin(anomaly("f", 10, LATENCY), anomaly("f", 10, ERRORS))
    (second,) = timeline.tick(15)
    assert second.entities == ("f",)
    assert len(timeline.correlator.open) == 2


def test_incidents_that_grow_together_become_the_older_one() -> None:
    timeline = Timeline(graph_of("a > b > c > d > e > f"), together=30)
    timeline.begin(anomaly("f", 0, LATENCY), anomaly("f", 0, ERRORS))
    (older,) = timeline.tick(5)
    timeline.begin(anomaly("a", 3, LATENCY), anomaly("a", 3, ERRORS))
    (younger,) = timeline.tick(15)
    assert timeline.begin(anomaly("c", 20, LATENCY)).tick(25)[0].entities == ("a", "c")
    timeline.begin(anomaly("d", 27, LATENCY))
    changes = timeline.tick(30)
    merged = [one for one in changes if one.reason is IncidentReason.MERGED]
    assert [one.id for one in merged] == [younger.id]
    assert merged[0].merged_into == older.id
    assert merged[0].resolved_at == at(30)
    (alive,) = timeline.correlator.open
    assert alive.id == older.id
    assert set(alive.entities) == {"a", "c", "d", "f"}
    assert len(alive.anomalies) == 6
    assert alive.began_at == at(0)
    assert changes[-1].id == older.id


def test_it_is_over_when_nothing_was_abnormal_for_long_enough() -> None:
    timeline = opened(resolve_after=30).end_all(40)
    assert timeline.ticks(range(40, 70, 5)) == []
    (over,) = timeline.tick(70)
    assert over.state is IncidentState.RESOLVED
    assert over.reason is IncidentReason.RECOVERED
    assert over.resolved_at == at(70)
    assert timeline.correlator.open == []
    assert timeline.correlator.past == [(at(0), at(70))]
    assert timeline.ticks(range(75, 200, 5)) == []


def test_a_relapse_starts_the_wait_again() -> None:
    timeline = opened(resolve_after=30).end_all(40)
    timeline.ticks(range(40, 65, 5))
    timeline.begin(anomaly("pricing", 63, LATENCY, strength=1.1))
    assert timeline.ticks(range(65, 100, 5)) == []
    timeline.end_all(100)
    assert [one.resolved_at for one in timeline.ticks(range(100, 200, 5))] == [at(130)]


def test_after_the_end_the_same_trouble_is_a_new_incident() -> None:
    timeline = opened(resolve_after=10).end_all(20)
    (over,) = timeline.ticks(range(20, 60, 5))
    timeline.begin(anomaly("pricing", 100, LATENCY), anomaly("pricing", 100, ERRORS))
    (second,) = timeline.tick(105)
    assert second.id != over.id


def test_a_clock_set_back_does_not_keep_an_incident_open_for_ever() -> None:
    timeline = opened(resolve_after=30).end_all(40)
    timeline.tick(40)
    hour = 3600
    resolved = timeline.ticks(range(40 - hour, 80 - hour, 5))
    assert [one.reason for one in resolved] == [IncidentReason.RECOVERED]


@pytest.mark.parametrize(
    ("back", "reason"), [(False, IncidentReason.STALE), (True, IncidentReason.RECOVERED)]
)
def test_silence_is_no_proof_of_recovery(back: bool, reason: IncidentReason) -> None:
    timeline = opened(resolve_after=30)
    timeline.end(20, ("pricing", ERRORS))
    latency = anomaly("pricing", 0, LATENCY)
    silenced = timeline.correlator.silenced(latency.series_id, at(40))
    assert silenced == replace(latency, ended_at=at(40))
    assert list(timeline.correlator.silent) == [latency.series_id]
    if back:
        timeline.correlator.heard(latency.series_id)
    assert [one.reason for one in timeline.ticks(range(40, 100, 5))] == [reason]
    assert not timeline.correlator.silent


def test_a_silent_series_that_turns_abnormal_again_was_heard() -> None:
    timeline = opened(resolve_after=30)
    latency = anomaly("pricing", 0, LATENCY)
    timeline.correlator.silenced(latency.series_id, at(40))
    timeline.begin(anomaly("pricing", 41, LATENCY)).tick(45)
    timeline.end_all(50)
    over = timeline.ticks(range(50, 100, 5))
    assert [one.reason for one in over] == [IncidentReason.RECOVERED]


def test_what_others_found_out_is_kept() -> None:
    timeline = opened(together=30)
    (incident,) = timeline.correlator.open
    timeline.correlator.update(replace(incident, title="db: probable cause"))
    timeline.begin(anomaly("db", 20, LATENCY))
    assert timeline.tick(25)[0].title == "db: probable cause"
    timeline.correlator.update(replace(incident, id=IncidentId("inc-of-another")))
    assert len(timeline.correlator.open) == 1


def test_adopted_incidents_are_resolved_like_any_other() -> None:
    (incident,) = opened().correlator.open
    other = Timeline(CHAIN, resolve_after=30)
    other.correlator.adopt([incident], [], at(100))
    other.correlator.adopt([replace(incident, title="again")], [], at(110))
    assert [one.title for one in other.correlator.open] == [incident.title]
    over = other.ticks(range(100, 200, 5))
    assert [(one.id, one.resolved_at) for one in over] == [(incident.id, at(130))]


def test_anomalies_that_nobody_will_end_are_ended_once() -> None:
    known, lost = anomaly("pricing", 0, LATENCY), anomaly("db", 0, ERRORS)
    timeline = opened()
    timeline.correlator.adopt([], [known, lost], at(20))
    assert timeline.correlator.end_orphans(at(30)) == [replace(lost, ended_at=at(30))]
    timeline.correlator.disown()
    assert not timeline.correlator.active
    assert {one.id for one in timeline.correlator.end_orphans(at(40))} == {
        known.id,
        anomaly("pricing", 2, ERRORS).id,
    }
    assert timeline.correlator.end_orphans(at(50)) == []


def test_the_past_is_remembered_within_bounds() -> None:
    timeline = Timeline(CHAIN, resolve_after=1)
    for second in range(0, 120 * 100, 100):
        timeline.begin(anomaly("cart", second, LATENCY), anomaly("cart", second, ERRORS))
        timeline.tick(second + 1)
        timeline.end_all(second + 2)
        timeline.ticks([second + 3, second + 10])
    assert len(timeline.correlator.past) == 100
    assert timeline.correlator.past[-1] == (at(11_900), at(11_910))


def test_a_restart_in_the_middle_changes_nothing() -> None:
    straight, restarted = opened(), opened()
    data = restarted.correlator.dump()
    restarted.correlator = Correlator(restarted.config)
    restarted.correlator.load(data)
    assert restarted.correlator.dump() == data
    for timeline in (straight, restarted):
        timeline.begin(anomaly("db", 20, LATENCY))
        timeline.ticks([25, 30])
        timeline.end_all(40)
        timeline.ticks(range(40, 100, 5))
    assert restarted.changed == straight.changed
    assert restarted.correlator.dump() == straight.correlator.dump()


def test_a_damaged_state_is_refused() -> None:
    with pytest.raises(ValidationError):
        Correlator(IncidentsConfig()).load(b'{"active":1}')


def test_an_end_without_a_beginning_is_nothing() -> None:
    assert Timeline(CHAIN).correlator.ended(anomaly("cart", 0).series_id, Millis(5)) is None


def test_titles_name_what_users_feel_first() -> None:
    loud = anomaly("db", 0, SATURATION, strength=9)
    felt = anomaly("cart", 9, LATENCY)
    assert title_of([loud]) == "db: saturation above normal"
    assert title_of([loud, felt]) == "cart: latency above normal, and 1 more signal"
    assert title_of([loud, felt, anomaly("cart", 9, ERRORS)]).endswith("and 2 more signals")


def test_configuration_is_checked() -> None:
    assert IncidentsConfig.model_validate({"resolve_after": "2m"}).resolve_after == 120
    with pytest.raises(ValidationError):
        IncidentsConfig.model_validate({"max_distance": -1})
