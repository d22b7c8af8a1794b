"""Logs change with what goes wrong, at whom and at those who call it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from dos.model.ids import EntityId
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.fleet import Fleet
from dos.simulate.kinds import KINDS
from dos.simulate.layout import STATEFUL
from dos.simulate.log_templates import TEMPLATES, Event, Runtime, Severity
from dos.simulate.logs import LogWriter, Record
from dos.simulate.traces import Tracer
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON

TEXTS = {one.id: one.text for some in TEMPLATES.values() for one in some}


class Logged:
    """A simulation and everything it has written."""

    def __init__(self, *, most: int = 300, seed: int = 1, step: float = 5.0) -> None:
        self.simulation = Simulation(shop(), seed=seed, step_seconds=step, start=MONDAY_NOON)
        self.fleet = Fleet(self.simulation)
        self.tracer = Tracer(self.simulation, self.fleet, seed=seed, per_tick=5)
        self.writer = LogWriter(self.simulation, self.fleet, seed=seed, most=most)
        self.records: list[Record] = []
        self.ticks: list[list[Record]] = []
        self.traces: set[int] = set()

    def breaks(self, fault: FaultType, target: str, severity: float = 0.95) -> Logged:
        about = KINDS[fault]
        self.simulation.inject(
            Fault(
                type=fault,
                target=EntityId(target),
                severity=severity,
                duration=120.0,
                ramp=about.ramp,
                recovery=about.recovery,
            )
        )
        return self

    def play(self, ticks: int) -> Logged:
        for _ in range(ticks):
            self.simulation.tick()
            self.fleet.follow()
            spans = self.tracer.sample()
            self.traces |= {span.trace for span in spans}
            self.ticks.append(self.writer.write(spans))
            self.records += self.ticks[-1]
        return self

    def writer_of(self, record: Record) -> str:
        if record.pod is None:
            return self.simulation.physics.nodes[record.node].name
        return self.simulation.physics.services[record.pod.service].name

    def by_writer(self, record_of: Event | None = None) -> dict[str, float]:
        """Lines by who wrote them, each as often as it stands for."""
        found: dict[str, float] = defaultdict(float)
        for record in self.records:
            if record_of is None or event_of(record) is record_of:
                found[self.writer_of(record)] += record.weight
        return found


def event_of(record: Record) -> Event:
    return Event(record.template.split(".")[1])


CALM = {Event.REQUEST, Event.ROUTINE}
EVERYDAY = {Event.INTERNAL, Event.FAILED, Event.RETRY, Event.FALLBACK, Event.SLOW}
"""What happens now and then on a good day."""


def test_on_a_calm_day_there_is_hardly_anything_but_requests() -> None:
    there = Logged().play(30)
    total, concern = 0.0, 0.0
    for record in there.records:
        total += record.weight
        concern += record.weight * (record.severity > Severity.INFO)
        assert event_of(record) in CALM | EVERYDAY
    assert concern < 0.01 * total
    last = there.simulation.last
    assert last is not None
    for service in ("api-gateway", "frontend", "payment-service"):
        place = there.simulation.physics.index[EntityId(service)]
        lines = there.by_writer(Event.REQUEST)[service]
        assert lines / 150 == pytest.approx(last.flow.arrivals[place], rel=0.25)
    stores = {service.name for service in shop().services if service.kind in STATEFUL}
    written = set(there.by_writer())
    assert written - stores == {service.name for service in shop().services} - stores
    assert written & stores, "they write little"


CASES = [
    # Fault, target; what the target writes, what its callers write, and who these are.
    (FaultType.MEMORY_LEAK, "payment-service", Event.OUT_OF_MEMORY, Event.FAILED),
    (FaultType.ERROR_RATE, "payment-service", Event.NO_CONNECTION, Event.FAILED),
    (FaultType.DEPLOY_REGRESSION, "payment-service", Event.NEW_CODE, Event.FAILED),
    (FaultType.DISK_FULL, "shop-db", Event.DISK_FULL, Event.FAILED),
    (FaultType.LOCK_CONTENTION, "shop-db", Event.LOCK, Event.RETRY),
    (FaultType.CONFIG_CHANGE, "payment-service", Event.POOL, Event.BREAKER),
    (FaultType.CASCADING_FAILURE, "catalog-db", Event.OVERLOADED, Event.BREAKER),
    (FaultType.PACKET_LOSS, "payment-service", Event.RESET, Event.FAILED),
    (FaultType.CPU_SPIKE, "catalog-service", Event.STARVED, None),
    (FaultType.CERTIFICATE_EXPIRY, "payment-service", None, Event.CERTIFICATE),
    (FaultType.DNS_FAILURE, "payment-service", None, Event.NO_HOST),
    (FaultType.DEPENDENCY_OUTAGE, "payment-service", None, Event.REFUSED),
    (FaultType.RETRY_STORM, "catalog-db", Event.OVERLOADED, Event.RETRY),
    (FaultType.NETWORK_LATENCY, "payment-service", Event.SLOW, None),
]


@pytest.fixture(scope="module")
def calm() -> Logged:
    return Logged().play(24)


@pytest.mark.parametrize(("fault", "target", "own", "of_callers"), CASES)
def test_each_fault_has_its_words(
    calm: Logged, fault: FaultType, target: str, own: Event | None, of_callers: Event | None
) -> None:
    ill = Logged().breaks(fault, target).play(24)
    if own is not None:
        assert ill.by_writer(own)[target] > 3 * calm.by_writer(own)[target]
        severity = {one.severity for one in ill.records if event_of(one) is own}
        assert min(severity) >= Severity.WARN
    if of_callers is not None:
        callers = {call.caller for call in shop().calls if call.callee == target}
        told, before = ill.by_writer(of_callers), calm.by_writer(of_callers)
        assert sum(told[one] for one in callers) > 3 * sum(before[one] for one in callers)
        naming = [
            one
            for one in ill.records
            if event_of(one) is of_callers and dict(one.attributes).get("server.address") == target
        ]
        assert {ill.writer_of(one) for one in naming} & callers
        assert all(target in one.body for one in naming)


def test_what_people_look_for_is_there() -> None:
    def words(fault: FaultType, target: str) -> str:
        return "\n".join(one.body for one in Logged().breaks(fault, target).play(24).records)

    assert "No space left on device" in words(FaultType.DISK_FULL, "shop-db")
    assert "lock wait timeout exceeded" in words(FaultType.LOCK_CONTENTION, "shop-db")
    assert "certificate has expired" in words(FaultType.CERTIFICATE_EXPIRY, "payment-service")
    assert "no such host" in words(FaultType.DNS_FAILURE, "payment-service")
    assert "connection pool exhausted" in words(FaultType.ERROR_RATE, "payment-service")
    outage = words(FaultType.DEPENDENCY_OUTAGE, "payment-service")
    assert "circuit breaker open for payment-service" in outage
    assert "retrying call to payment-service" in outage
    assert "connection refused" in outage
    assert "upstream timeout: catalog-db" in words(FaultType.RETRY_STORM, "catalog-db")
    java = next(one for one in TEMPLATES[Runtime.JAVA, Event.OUT_OF_MEMORY])
    assert java.text == "java.lang.OutOfMemoryError: Java heap space"


def test_lines_are_made_of_their_templates() -> None:
    records = Logged().breaks(FaultType.CASCADING_FAILURE, "catalog-db").play(20).records
    for record in records:
        pattern = re.sub(r"\\\{(\w+)\\\}", ".+", re.escape(TEXTS[record.template]))
        assert re.fullmatch(pattern, record.body), record
    assert len({record.template for record in records}) > 10


def test_every_template_can_be_filled_in() -> None:
    there = Logged(most=20_000)
    there.play(1)
    for (runtime, event), templates in TEMPLATES.items():
        for number in range(len(templates)):
            assert templates[number].id.endswith(f"{event}.{number + 1}")
        for place, known in enumerate(there.writer._runtimes):
            if known is runtime and there.fleet.of(place):
                calls = there.simulation.physics.calls_from(
                    there.simulation.physics.services[place].id
                )
                call = int(calls[0]) if len(calls) else None
                line = _line_of(there, event, place, call)
                assert (line is None) == (not templates)
                assert line is None or "{" not in line.body
                break


def _line_of(there: Logged, event: Event, place: int, call: int | None) -> Record | None:
    from dos.simulate.logs import _Entry

    last = there.simulation.last
    assert last is not None
    entry = _Entry(event=event, place=place, call=call)
    return next(iter(there.writer._line(last, entry)), None)


def test_lines_are_bounded_and_stand_for_the_others() -> None:
    def storm(most: int) -> Logged:
        return Logged(most=most).breaks(FaultType.RETRY_STORM, "catalog-db").play(12)

    few, many = storm(60), storm(3_000)
    for tick in few.ticks:
        drawn = [one for one in tick if one.trace is None and event_of(one) in CALM | EVERYDAY]
        assert len(drawn) < 60 + 4 * 60**0.5
    concern = [one for one in few.records if one.severity > Severity.INFO and one.trace is None]
    assert len(concern) > 0.3 * len(few.records), "neither kind crowds the other out"
    for event in (Event.RETRY, Event.TIMEOUT, Event.REQUEST):
        ratio = sum(few.by_writer(event).values()) / sum(many.by_writer(event).values())
        assert ratio == pytest.approx(1.0, abs=0.3), event


def test_lines_about_sampled_requests_carry_their_trace() -> None:
    there = Logged().breaks(FaultType.ERROR_RATE, "payment-service").play(20)
    traced = [one for one in there.records if one.trace is not None]
    assert len(traced) > 100
    assert {one.trace for one in traced} <= there.traces
    own = [one for one in traced if event_of(one) is Event.NO_CONNECTION]
    assert {there.writer_of(one) for one in own} == {"payment-service"}, "who failed itself"
    assert {Event.FAILED, Event.REQUEST} <= {event_of(one) for one in traced}


def test_a_breaker_opens_and_closes_once() -> None:
    there = Logged().breaks(FaultType.DEPENDENCY_OUTAGE, "payment-service").play(60)
    about = Counter(
        (event_of(one), there.writer_of(one), one.pod.name)
        for one in there.records
        if one.pod is not None
        and dict(one.attributes).get("server.address") == "payment-service"
        and event_of(one) in {Event.BREAKER_OPENED, Event.BREAKER_CLOSED}
    )
    assert {writer for _, writer, _ in about} == {"checkout-service"}
    assert set(about.values()) == {1}
    assert len(about) == 4, "two replicas, open and closed"


def test_a_rollout_stops_and_starts_each_replica() -> None:
    there = Logged(step=1.0).breaks(FaultType.HARMLESS_DEPLOY, "frontend").play(70)
    started = [one for one in there.records if event_of(one) is Event.STARTED]
    stopped = [one for one in there.records if event_of(one) is Event.STOPPED]
    assert len(started) == len(stopped) == 4
    assert all("1.0.1" in one.body for one in started)


def test_a_killed_replica_leaves_a_line_on_its_machine() -> None:
    there = Logged().breaks(FaultType.MEMORY_LEAK, "frontend").play(40)
    kernel = [one for one in there.records if event_of(one) is Event.KERNEL_OOM]
    last = there.simulation.last
    assert last is not None
    kills = last.flow.restarts[there.simulation.physics.index[EntityId("frontend")]]
    assert len(kernel) == kills > 0
    assert all(one.pod is None and "(frontend)" in one.body for one in kernel)


def test_a_wrong_clock_shows_in_times_and_words() -> None:
    there = Logged().breaks(FaultType.CLOCK_SKEW, "shop-node-a1").play(20)
    assert there.by_writer(Event.CLOCK_STEPPED).keys() == {"shop-node-a1"}
    tokens = there.by_writer(Event.EXPIRED)
    stores = {"catalog-db", "shop-db", "redis-cache", "order-queue"}
    assert tokens
    assert not tokens.keys() & stores
    now = there.simulation.now * 1000
    ahead = [
        record.time - now
        for record in there.ticks[-1]
        if there.simulation.physics.nodes[record.node].name == "shop-node-a1"
    ]
    assert min(ahead) > 100e6
    times = [record.time for record in there.ticks[-1]]
    assert times == sorted(times)


def test_logs_change_nothing_and_are_repeatable() -> None:
    alone = Simulation(shop(), seed=1, step_seconds=5.0, start=MONDAY_NOON)
    first, second, other = Logged().play(8), Logged().play(8), Logged(seed=2).play(8)
    alone.ticks(8)
    assert first.simulation.tick().value.tobytes() == alone.tick().value.tobytes()
    assert [one.body for one in first.records] == [one.body for one in second.records]
    assert [one.body for one in first.records] != [one.body for one in other.records]
    assert np.isfinite([one.weight for one in first.records]).all()
