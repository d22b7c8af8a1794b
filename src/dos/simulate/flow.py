"""What the physics works with and yields: effects of faults, state, and the flow of a tick."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One metric of one service that shows something else than what is."""

    service: EntityId
    metric: str
    factor: float
    """What the true value is multiplied by."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """What faults do, as arrays `[service]`, `[call]` or `[node]`; all zero or one without."""

    burn: Float64Array
    """`[service]` CPU ratio taken by something else inside its containers."""
    background: Float64Array
    """`[service]` CPU ratio taken by work of low priority, which gives way to requests."""
    work: Float64Array
    """`[service]` factor on the work of a request."""
    delay: Float64Array
    """`[service]` seconds added to every request."""
    loss: Float64Array
    """`[service]` ratio of packets lost on the way to it."""
    errors: Float64Array
    """`[service]` ratio of requests made to fail."""
    leak: Float64Array
    """`[service]` memory leaked per second, as a ratio of the limit."""
    fill: Float64Array
    """`[service]` disk filled per second, as a ratio of the volume."""
    capacity: Float64Array
    """`[service]` share of the servers that is left."""
    lock: Float64Array
    """`[service]` share of the capacity that can be used because of a lock held too long."""
    pool: Float64Array
    """`[service]` share of the pool of in-flight requests that is left."""
    patience: Float64Array
    """`[service]` factor on the time for which its backlog may grow before it refuses requests."""
    demand: Float64Array
    """`[service]` factor on what users bring."""
    missed: Float64Array
    """`[service]` factor on the misses of a cache."""
    unreached: Float64Array
    """`[call]` ratio of calls that fail before they reach the callee."""
    call_delay: Float64Array
    """`[call]` seconds a call takes before it reaches the callee."""
    wanted: Float64Array
    """`[call]` factor on the calls per request."""
    storm: Float64Array
    """`[call]` 0 to 1: how many retries come on top of the budget, with no breaker to stop them."""
    node_burn: Float64Array
    """`[node]` share of the machine's CPU taken by a neighbour."""
    node_out: Float64Array
    """`[node]` share of the machine that is gone."""
    node_errors: Float64Array
    """`[node]` ratio of requests that its replicas fail; stores check no tokens and are spared."""
    node_skew: Float64Array
    """`[node]` seconds its clock is ahead."""
    corrupted: list[Corruption] = field(default_factory=list)

    @staticmethod
    def none(services: int, calls: int, nodes: int) -> Effects:
        """No effect in a world of that many services, calls and nodes."""

        return Effects(
            burn=np.zeros(services),
            background=np.zeros(services),
            work=np.ones(services),
            delay=np.zeros(services),
            loss=np.zeros(services),
            errors=np.zeros(services),
            leak=np.zeros(services),
            fill=np.zeros(services),
            capacity=np.ones(services),
            lock=np.ones(services),
            pool=np.ones(services),
            patience=np.ones(services),
            demand=np.ones(services),
            missed=np.ones(services),
            unreached=np.zeros(calls),
            call_delay=np.zeros(calls),
            wanted=np.ones(calls),
            storm=np.zeros(calls),
            node_burn=np.zeros(nodes),
            node_out=np.zeros(nodes),
            node_errors=np.zeros(nodes),
            node_skew=np.zeros(nodes),
        )


@dataclass(slots=True, eq=False)
class State:
    """What one tick leaves to the next. Arrays `[service]` but for calls and nodes."""

    backlog: Float64Array
    """Requests waiting."""
    held: Float64Array
    """Mean seconds a request holds its place in the pool, smoothed."""
    stride: Float64Array
    """How far that moves in one tick where the pool is full, as a logarithm."""
    rising: BoolArray
    """Whether it moved up in the last tick."""
    failing: Float64Array
    """`[call]` ratio of calls that fail, smoothed."""
    garbage: Float64Array
    """Memory to collect, as a ratio of the limit."""
    leaked: Float64Array
    """Memory lost, as a ratio of the limit."""
    down: Float64Array
    """Seconds until the killed replica is back."""
    restarts: Float64Array
    """Restarts so far."""
    filled: Float64Array
    """Disk filled by a fault, as a ratio of the volume."""
    written: Float64Array
    """Disk filled by logs since they were last rotated, as a ratio of the volume."""
    replicas: Float64Array
    """Replicas that run, ready or about to be."""
    coming: Float64Array
    """Of these, replicas that are still starting."""
    starting: Float64Array
    """Seconds until these are ready."""
    rolling: Float64Array
    """Seconds until a rolling restart is through."""
    demanded: Float64Array
    """Replicas' worth of CPU in use, as the autoscaler sees it, smoothed."""
    idle_for: Float64Array
    """Seconds in which the autoscaler has wanted fewer replicas."""
    lost: Float64Array
    """Share of the replicas that went with a node and runs nowhere yet."""
    away: Float64Array
    """Share of the replicas whose node is gone and that run elsewhere since."""
    drained: BoolArray
    """`[node]` whether its replicas were moved elsewhere."""

    def copy(self) -> State:
        """An independent copy."""
        return State(*(getattr(self, one.name).copy() for one in fields(self)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Supply:
    """What there is to serve requests with. Arrays `[service]`."""

    memory: Float64Array
    """Ratio of the limit in use, but for requests in flight."""
    disk: Float64Array
    ready: Float64Array
    """Replicas."""
    unnoticed: Float64Array
    """Ratio of replicas that are gone and still get requests."""
    speed: Float64Array
    """Factor on the speed of a replica."""
    up: Float64Array
    """Share of the usual servers that is there."""
    capacity: Float64Array
    """Requests per second by the CPU."""
    usable: Float64Array
    """The same by what locks allow."""
    pool: Float64Array
    """Requests in flight allowed."""
    limit: Float64Array
    """Requests per second that can be served."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """How requests are answered in one tick."""

    latency: Float64Array
    """`[service]` mean seconds of a request."""
    location: Float64Array
    """`[service]` μ of the lognormal of latency: ln of the median in seconds."""
    spread: Float64Array
    """`[service]` σ of that lognormal."""
    errors: Float64Array
    """`[service]` ratio of requests that failed."""
    call_failures: Float64Array
    """`[call]` ratio of calls that failed."""


@dataclass(frozen=True, slots=True, eq=False)
class Calling:
    """What callers do in one tick. Arrays `[call]`."""

    wanted: Float64Array
    """Calls for one request of the caller."""
    again: Float64Array
    """Further tries for each call that is not held back."""
    held_back: Float64Array
    """Ratio of wanted calls that a breaker fails at once."""
    tries: Float64Array
    """Calls made for each one wanted, one after the other."""
    besides: Float64Array
    """Calls made besides for each one wanted, in a retry storm; nobody waits for them."""
    reaching: Float64Array
    """Calls that reach the callee for one request of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Own:
    """What a service does with a request before and between its calls. Arrays `[service]`."""

    mean: Float64Array
    """Seconds spent in the service itself, the wait for its turn included."""
    variance: Float64Array
    """Of these, in seconds squared."""
    transit: Float64Array
    """Of the mean, seconds on the way to the service and back."""
    success: Float64Array
    """Ratio of requests that it does not fail itself."""
    refused: Float64Array
    """Ratio of requests that it has no room for; a part of those that fail."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """What went on in one tick, before anybody measured it. Arrays `[service]` but where stated."""

    arrivals: Float64Array
    """Requests per second."""
    served: Float64Array
    """Requests per second that were worked on."""
    answers: Answers
    own: Own
    """The part of it that a service has by itself."""
    calling: Calling
    """What callers did."""
    effects: Effects
    """What faults did."""
    cpu: Float64Array
    memory: Float64Array
    """Ratios of the limits."""
    disk: Float64Array
    """Ratio of the volume in use; 0 where there is none."""
    in_flight: Float64Array
    """Requests being worked on, by Little's law."""
    pool: Float64Array
    """Requests that may be worked on at the same time."""
    waiting: Float64Array
    """Requests, or messages, that wait."""
    restarts: Float64Array
    """So far."""
    replicas: Float64Array
    """Replicas that should run."""
    ready: Float64Array
    """Replicas that take requests."""
    retransmits: Float64Array
    """Ratio of packets sent twice."""
    hits: Float64Array
    """Ratio of a cache's reads that it answers itself; 0 for all else."""
    call_rate: Float64Array
    """`[call]` calls per second, retries included."""
    node_cpu: Float64Array
    """`[node]` ratio of the machine's cores in use."""
    node_memory: Float64Array
    """`[node]` ratio of the machine's memory in use."""
    node_up: Float64Array
    """`[node]` 1 while it answers, 0 while it is gone."""
    node_skew: Float64Array
    """`[node]` seconds its clock is ahead."""
