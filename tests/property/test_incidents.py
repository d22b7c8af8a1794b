"""Whatever becomes abnormal and normal again, in whatever graph, and however often DOS restarts."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dos.incidents.correlate import Correlator, IncidentsConfig
from dos.kit.clock import SECOND
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, IncidentId
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import anomaly, at, series_of

NAMES = [EntityId(name) for name in "abcdefgh"]
ROLES = [Role.LATENCY, Role.ERRORS, Role.TRAFFIC, Role.SATURATION, Role.OTHER]
CONFIG = IncidentsConfig(max_distance=1, resolve_after=30, alone_after=60)
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b]


class Correlation(RuleBasedStateMachine):
    """Anomalies come and go; a second correlator is restarted at random and must not differ."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0
        self.correlator, self.restarted = Correlator(CONFIG), Correlator(CONFIG)
        self.latest: dict[IncidentId, Incident] = {}
        self.resolved: list[IncidentId] = []
        self.active: set[AnomalyId] = set()

    @initialize(calls=st.lists(st.sampled_from(PAIRS), max_size=8, unique=True))
    def system(self, calls: list[tuple[EntityId, EntityId]]) -> None:
        self.graph = GraphSnapshot(
            entities=tuple(Entity(id=name) for name in NAMES),
            edges=tuple(Edge(caller=a, callee=b) for a, b in sorted(calls)),
        )

    @rule(
        name=st.sampled_from(NAMES),
        role=st.sampled_from(ROLES),
        strength=st.sampled_from([1.0, 2.0, 5.0]),
        lag=st.integers(0, 60),
    )
    def turns_abnormal(self, name: EntityId, role: Role, strength: float, lag: int) -> None:
        if series_of(name, role.value) in self.correlator.active:
            return
        one = anomaly(name, self.seconds - lag, role, strength=strength, lag=lag)
        for correlator in (self.correlator, self.restarted):
            correlator.started(one)

    @rule(name=st.sampled_from(NAMES), role=st.sampled_from(ROLES), silent=st.booleans())
    def turns_normal(self, name: EntityId, role: Role, silent: bool) -> None:
        series, now = series_of(name, role.value), at(self.seconds)
        for correlator in (self.correlator, self.restarted):
            (correlator.silenced if silent else correlator.ended)(series, now)

    @rule(seconds=st.sampled_from([0, 1, 15, 40]))
    def time_passes(self, seconds: int) -> None:
        self.seconds += seconds
        changed = self.correlator.apply(self.graph, at(self.seconds))
        assert self.restarted.apply(self.graph, at(self.seconds)) == changed
        self.keep(changed)
        self.nothing_is_told_twice()

    @rule()
    def restart(self) -> None:
        data = self.restarted.dump()
        self.restarted = Correlator(CONFIG)
        self.restarted.load(data)
        assert self.restarted.dump() == data == self.correlator.dump()

    def keep(self, changed: list[Incident]) -> None:
        for one in changed:
            before = self.latest.get(one.id)
            opens = one.reason is IncidentReason.CORROBORATED
            assert opens == (before is None), "opened once, before anything else"
            assert one.id not in self.resolved, "nothing follows the end"
            if before is not None:
                assert set(before.entities) <= set(one.entities)
                assert set(before.anomalies) <= set(one.anomalies)
                assert one.opened_at == before.opened_at
            assert one.began_at <= one.opened_at <= one.updated_at == at(self.seconds)
            if one.state is IncidentState.RESOLVED:
                assert one.resolved_at == at(self.seconds)
                self.resolved.append(one.id)
            self.latest[one.id] = one

    def nothing_is_told_twice(self) -> None:
        """No anomaly belongs to two open incidents, and none that began together stay apart."""
        incidents, abnormal = self.correlator.open, self.correlator.abnormal()
        owned = [anomaly for one in incidents for anomaly in one.anomalies]
        assert len(owned) == len(set(owned))
        for one in incidents:
            for other in incidents:
                if one.opened_at == other.opened_at and one.id < other.id:
                    near = (self.graph.around(e, 1) for e in one.entities if e in abnormal)
                    assert not any(set(there) & set(other.entities) for there in near)

    @invariant()
    def every_incident_that_was_opened_and_not_resolved_is_open(self) -> None:
        still = [name for name, one in self.latest.items() if one.state is IncidentState.OPEN]
        assert sorted(still) == sorted(one.id for one in self.correlator.open)

    @invariant()
    def merged_incidents_name_one_that_was_open(self) -> None:
        for one in self.latest.values():
            assert (one.reason is IncidentReason.MERGED) == (one.merged_into is not None)
            if one.merged_into is not None:
                survivor = self.latest[one.merged_into]
                assert set(one.entities) <= set(survivor.entities)
                assert survivor.began_at <= one.began_at

    def teardown(self) -> None:
        """When everything is normal, everything is over after the wait, and stays so."""
        if not hasattr(self, "graph"):
            return
        for series in list(self.correlator.active):
            self.correlator.ended(series, at(self.seconds))
        for _ in range(2):
            self.keep(self.correlator.apply(self.graph, at(self.seconds)))
            self.seconds += 30
        self.keep(self.correlator.apply(self.graph, at(self.seconds)))
        assert not self.correlator.open
        assert not self.correlator.silent or not self.latest
        self.every_incident_that_was_opened_and_not_resolved_is_open()
        assert self.correlator.apply(self.graph, at(self.seconds * SECOND)) == []


Correlation.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestCorrelation = Correlation.TestCase
