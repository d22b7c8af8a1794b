"""Sampled traces agree with the metrics of the same ticks."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.fleet import Fleet
from dos.simulate.semantics import SpanKind, resource_of
from dos.simulate.traces import MOST_WAITING, Span, Tracer
from dos.simulate.walks import BREAKER, MOST_SPANS, TIMEOUT
from dos.simulate.world import Call, SimulatedService, World
from dos.simulate.worlds import world as world_of
from tests.unit.simulate.runs import MONDAY_NOON


class Traced:
    """A simulation whose ticks are traced."""

    def __init__(
        self, there: World | str = "shop", *, per_tick: int = 20, seed: int = 1, step: float = 5.0
    ) -> None:
        built = world_of(there) if isinstance(there, str) else there
        self.simulation = Simulation(built, seed=seed, step_seconds=step, start=MONDAY_NOON)
        self.fleet = Fleet(self.simulation)
        self.tracer = Tracer(self.simulation, self.fleet, seed=seed, per_tick=per_tick)
        self.spans: list[Span] = []

    def breaks(
        self, fault: FaultType, target: str, severity: float = 0.9, wait: int = 14
    ) -> Traced:
        """Let it come to full strength, unobserved."""
        wanted = Fault(type=fault, target=EntityId(target), severity=severity, duration=3600.0)
        self.simulation.inject(wanted)
        for _ in range(wait):
            self.simulation.tick()
            self.fleet.follow()
        return self

    def play(self, ticks: int) -> Traced:
        for _ in range(ticks):
            self.simulation.tick()
            self.fleet.follow()
            self.spans += self.tracer.sample()
        return self

    def traces(self) -> dict[int, list[Span]]:
        found = defaultdict(list)
        for span in self.spans:
            found[span.trace].append(span)
        return found

    def service(self, span: Span) -> str:
        return self.simulation.physics.services[span.pod.service].name


def seconds(span: Span) -> float:
    return (span.end - span.start) / 1e6


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        (None, ""),
        (FaultType.DEPENDENCY_OUTAGE, "payment-service"),
        (FaultType.NETWORK_LATENCY, "catalog-service"),
        (FaultType.ERROR_RATE, "catalog-service"),
        (FaultType.CPU_SPIKE, "frontend"),
        (FaultType.PACKET_LOSS, "frontend"),
        (FaultType.CLOCK_SKEW, "shop-node-a1"),
        (FaultType.CASCADING_FAILURE, "catalog-db"),
    ],
)
def test_roots_have_the_latency_and_errors_of_the_gateway(
    fault: FaultType | None, target: str
) -> None:
    there = Traced(per_tick=100)
    if fault is not None:
        there.breaks(fault, target)
    physics = there.simulation.physics
    gateway = physics.index[EntityId("api-gateway")]
    expected: list[Float64Array] = []
    for _ in range(20):
        there.play(1)
        assert there.simulation.last is not None
        answers = there.simulation.last.flow.answers
        location, spread = answers.location[gateway], answers.spread[gateway]
        p95, p99 = math.exp(location + 1.645 * spread), math.exp(location + 2.326 * spread)
        expected.append(np.array([answers.latency[gateway], answers.errors[gateway], p95, p99]))
    mean, errors, p95, p99 = np.mean(expected, axis=0)
    roots = [span for span in there.spans if span.parent is None]
    assert len(roots) == 2000
    took = np.array([seconds(span) for span in roots])
    failed = sum(bool(span.error) for span in roots) / len(roots)
    luck = 3 * float(np.std(took)) / math.sqrt(len(roots))
    assert np.mean(took) == pytest.approx(mean, abs=0.03 * mean + luck)
    luck = 3 * math.sqrt(errors * (1 - errors) / len(roots))
    assert failed == pytest.approx(errors, rel=0.05, abs=luck)
    if fault is not FaultType.CASCADING_FAILURE:  # bimodal: who meets the database, and who not
        # The metrics' tail is that of a lognormal with the same two moments.
        assert np.quantile(took, [0.95, 0.99]) == pytest.approx([p95, p99], rel=0.25)


def test_every_service_is_as_fast_in_its_spans_as_in_its_metrics() -> None:
    there = Traced(per_tick=150).play(12)
    assert there.simulation.last is not None
    latency = there.simulation.last.flow.answers.latency
    took = defaultdict(list)
    for span in there.spans:
        if span.kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
            took[span.pod.service].append(seconds(span))
    for place, values in took.items():
        # A server does not see what a request spends on its way.
        assert np.mean(values) == pytest.approx(latency[place], rel=0.12), place
    traced = {EntityKind.GATEWAY, EntityKind.SERVICE}
    services = there.simulation.physics.services
    assert set(took) == {place for place, one in enumerate(services) if one.kind in traced}


@pytest.mark.parametrize("fault", [None, FaultType.CASCADING_FAILURE, FaultType.RETRY_STORM])
def test_parents_contain_their_children(fault: FaultType | None) -> None:
    there = Traced(per_tick=40)
    if fault is not None:
        there.breaks(fault, "catalog-db")
    there.play(10)
    for trace in there.traces().values():
        by_id = {span.span: span for span in trace}
        assert len(by_id) == len(trace)
        for span in trace:
            parent = by_id.get(span.parent or 0)
            if parent is None:
                continue
            assert parent.start <= span.start, "nobody is asked before somebody asks"
            if span.kind is SpanKind.CONSUMER:
                assert parent.kind is SpanKind.PRODUCER
                assert span.start >= parent.end
            elif parent.error != TIMEOUT and parent.end < span.end:
                # Who gave up does not stop what works for it, nor what that one waits for; and
                # in a storm clients ask besides, and wait for none of it.
                assert _given_up(span, trace, by_id), (parent, span)
            if span.kind is SpanKind.SERVER:
                assert parent.kind is SpanKind.CLIENT
                assert span.pod.service != parent.pod.service
            elif span.kind in {SpanKind.CLIENT, SpanKind.PRODUCER}:
                assert span.pod is parent.pod


def _given_up(span: Span, trace: list[Span], by_id: dict[int, Span]) -> bool:
    here: Span | None = span
    while here is not None:
        where = dict(here.attributes).get("server.address")
        asked_again = any(
            one.parent == here.parent and one.error and one.end <= here.start
            for one in trace
            if dict(one.attributes).get("server.address") == where
        )
        if here.error == TIMEOUT or asked_again:
            return True
        here = by_id.get(here.parent or 0)
    return False


def test_calls_are_made_as_often_as_the_world_says() -> None:
    there = Traced(per_tick=150).play(10)
    served = defaultdict(int)
    called: dict[tuple[str, str], int] = defaultdict(int)
    for span in there.spans:
        name = there.service(span)
        if span.kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
            served[name] += 1
        else:
            attributes = dict(span.attributes)
            called[name, str(attributes["server.address"])] += 1
    for call in there.simulation.world.calls:
        if served[call.caller]:
            per_request = called[call.caller, call.callee] / served[call.caller]
            tolerance = 4 * math.sqrt(call.per_request / served[call.caller])
            assert per_request == pytest.approx(call.per_request, abs=max(0.02, tolerance)), call


def test_tracing_changes_nothing_and_is_repeatable() -> None:
    alone = Simulation(world_of("shop"), seed=1, step_seconds=5.0, start=MONDAY_NOON)
    first, second, other = Traced(), Traced(), Traced(seed=2)
    for _ in range(10):
        first.play(1)
        assert first.simulation.last is not None
    alone.ticks(10)
    assert first.simulation.tick().value.tobytes() == alone.tick().value.tobytes()
    second.play(10)
    other.play(10)

    def shown(spans: list[Span]) -> list[tuple[object, ...]]:
        return [(s.trace, s.span, s.parent, s.name, s.start, s.end, s.pod.name) for s in spans]

    assert shown(first.spans) == shown(second.spans)
    assert shown(first.spans) != shown(other.spans)


def test_spans_are_named_and_described_as_opentelemetry_has_it() -> None:
    there = Traced().play(10)
    seen: dict[str, dict[str, object]] = {
        f"{there.service(span)} {span.kind.name} {span.name}": dict(span.attributes)
        for span in there.spans
    }
    http = seen["frontend SERVER GET /frontend"]
    assert http["http.request.method"] == "GET"
    assert http["http.route"] == "/frontend"
    assert http["http.response.status_code"] == 200
    database = seen["catalog-service CLIENT SELECT catalog-db"]
    assert (database["db.system.name"], database["server.port"]) == ("postgresql", 5432)
    assert seen["user-service CLIENT GET redis-cache"]["db.system.name"] == "redis"
    sent = seen["checkout-service PRODUCER send order-queue"]
    taken = seen["notification-service CONSUMER process order-queue"]
    assert sent["messaging.destination.name"] == taken["messaging.destination.name"]
    pod = next(span.pod for span in there.spans if there.service(span) == "payment-service")
    resource = dict(resource_of(there.fleet, pod))
    assert resource["service.name"] == resource["k8s.deployment.name"] == "payment-service"
    assert resource["service.version"] == "1.0.0"
    assert resource["k8s.pod.name"] == pod.name
    assert resource["cloud.availability_zone"] in there.simulation.world.zones


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (FaultType.DNS_FAILURE, "no_host"),
        (FaultType.CERTIFICATE_EXPIRY, "certificate"),
        (FaultType.DEPENDENCY_OUTAGE, "refused"),
    ],
)
def test_callers_say_why_a_call_did_not_arrive(fault: FaultType, error: str) -> None:
    there = Traced(per_tick=60).breaks(fault, "payment-service").play(10)
    calls = [
        span
        for span in there.spans
        if dict(span.attributes).get("server.address") == "payment-service"
        and span.kind is SpanKind.CLIENT
    ]
    kinds = {span.error for span in calls}
    assert error in kinds
    assert BREAKER in kinds, "callers hold back"
    assert not {"no_host", "certificate", "refused"} - {error} & kinds
    arrived = {span.parent for span in there.spans if there.service(span) == "payment-service"}
    assert not arrived & {span.span for span in calls if span.error in {error, BREAKER}}


def test_in_a_storm_calls_are_made_again_and_again() -> None:
    def per_request(there: Traced) -> float:
        calls = [s for s in there.spans if s.name == "SELECT catalog-db"]
        served = [s for s in there.spans if s.name == "GET /catalog" and s.kind == SpanKind.SERVER]
        return len(calls) / len(served)

    calm = per_request(Traced().play(20))
    storm = per_request(Traced().breaks(FaultType.RETRY_STORM, "catalog-db", 1.0).play(10))
    assert calm == pytest.approx(0.5, abs=0.1)
    assert storm > 3 * calm


def test_a_wrong_clock_shifts_the_spans_of_its_node() -> None:
    there = Traced().breaks(FaultType.CLOCK_SKEW, "shop-node-a1", severity=1.0).play(5)
    physics = there.simulation.physics
    now = there.simulation.now * 1000
    for span in there.spans:
        ahead = span.end - now
        if physics.nodes[span.pod.node].name == "shop-node-a1":
            assert 200e6 < ahead < 301e6
        else:
            assert ahead <= 0


def test_messages_that_wait_are_worked_on_later() -> None:
    there = Traced(per_tick=60)
    there.breaks(FaultType.CASCADING_FAILURE, "notification-service", severity=0.7, wait=12)
    there.play(30)
    sent = {span.span: span for span in there.spans if span.kind is SpanKind.PRODUCER}
    waits = [
        (span.start - sent[span.parent].end) / 1e6
        for span in there.spans
        if span.kind is SpanKind.CONSUMER and span.parent in sent
    ]
    assert waits
    assert max(waits) > 10, "the backlog grows"
    assert all(span.end <= there.simulation.now * 1000 for span in there.spans)


def test_a_new_version_shows_in_the_spans() -> None:
    there = Traced(step=1.0)
    there.breaks(FaultType.HARMLESS_DEPLOY, "frontend", wait=0).play(70)
    versions = [s.pod.version for s in there.spans if there.service(s) == "frontend"]
    assert versions[0] == "1.0.0"
    assert versions[-1] == "1.0.1"


def _wide(fan: float) -> World:
    names = [EntityId(f"s{level}") for level in range(4)]
    return World(
        name="wide",
        services=tuple(SimulatedService(name=name, replicas=1) for name in names),
        calls=tuple(
            Call(caller=a, callee=b, per_request=fan, timeout=60.0)
            for a, b in itertools.pairwise(names)
        ),
        entries={names[0]: 1.0},
    )


def test_a_trace_is_bounded_however_wide_the_graph_is() -> None:
    there = Traced(_wide(20.0), per_tick=1).play(30)
    sizes = [len(trace) for trace in there.traces().values()]
    # 20 x 20 x 20 calls; the callers of one that was cut off still note their calls.
    assert max(sizes) <= MOST_SPANS + 60
    root = [span for span in there.spans if span.parent is None]
    assert there.simulation.last is not None
    took = np.mean([seconds(span) for span in root])
    assert took == pytest.approx(there.simulation.last.flow.answers.latency[0], rel=0.1)


def test_spans_that_wait_are_bounded() -> None:
    queue = SimulatedService(name="jobs", kind=EntityKind.QUEUE, replicas=1)
    slow = SimulatedService(name="worker", replicas=1)
    api = SimulatedService(name="api", kind=EntityKind.GATEWAY, replicas=1)
    jobs, worker = queue.id, slow.id
    there = Traced(
        World(
            name="jobs",
            services=(api, queue, slow),
            calls=(
                Call(caller=api.id, callee=jobs, kind=EdgeKind.MESSAGE),
                Call(caller=jobs, callee=worker, kind=EdgeKind.MESSAGE, per_request=30.0),
            ),
            entries={api.id: 5.0},
        ),
        per_tick=40,
    )
    there.breaks(FaultType.LOCK_CONTENTION, "worker", severity=1.0, wait=60).play(40)
    assert there.tracer.dropped > 0
    assert len(there.tracer._waiting) <= MOST_WAITING


def test_users_who_come_in_at_a_store_leave_no_spans() -> None:
    store = SimulatedService(name="db", kind=EntityKind.DATABASE, replicas=1)
    there = Traced(World(name="db", services=(store,), calls=(), entries={store.id: 5.0}))
    assert there.play(3).spans == []
