"""The physics: how load travels down the graph, and latency and errors up.

One `step` takes the demand from outside and the effects of faults, and yields the flow of one
tick. All arrays are `[service]` in topological order (callers first) or `[call]` sorted by the
caller, so that each level of the graph is one slice.

* Down: a service serves what its CPU and its pool of in-flight requests allow; the rest waits
  in a bounded backlog, and beyond that is refused. Only what is served calls further, retries
  included: a bottleneck shields what lies below it.
* Up: a request's latency is its own work, the wait for a free server (M/M/c), and the time its
  callees take, each cut off at the caller's timeout. Means and variances add up; quantiles come
  from the lognormal with these two moments (Fenton, IRE Trans. Commun. Systems 8, 1960).
* Nothing diverges: backlogs, pools, retry budgets and circuit breakers bound every loop. Retries,
  breakers and pools react to the previous tick, so that one tick is one pass without iteration.
"""

from __future__ import annotations

import math

import numpy as np

from dos.model.entity import EntityKind
from dos.model.telemetry import BoolArray, Float64Array, Int64Array
from dos.simulate.flow import Answers, Effects, Flow, State
from dos.simulate.queueing import normal_cdf, wait_for_server
from dos.simulate.world import World

PATIENCE = 1.0
"""Seconds of work that may wait in a service's backlog before it refuses requests."""
BACKLOG_OF_QUEUE = 3600.0
"""The same for the consumers of a queue, whose work waits in the queue."""
POOL_PER_REPLICA = 100.0
"""In-flight requests that each replica allows at least: an ordinary thread or connection pool."""
POOL_FACTOR = 12.0
"""In-flight requests allowed at least, as a multiple of those of an average day."""
BREAKER_OPENS = 0.6
"""Ratio of failing calls from which on a circuit breaker holds calls back."""
BREAKER_PROBES = 0.3
"""Ratio of calls let through to a callee that fails entirely."""
REPEATS = 0.6
"""Share of failures that would fail again at once; a retry mends the others."""
REACTION = 8.0
"""Seconds in which pools, retries and breakers follow what they observe."""
MOST_REACTION = 0.35
"""Of the way at most in one tick: a loop that reacts fully to the tick before swings forever."""
RESTART_SECONDS = 40.0
"""From the kill of a replica until its successor is ready."""
RELEASE_SECONDS = 20.0
"""Time constant with which leaked memory goes once the leak is mended (a rolling restart)."""
IDLE_CPU = 0.03
"""CPU ratio of a service without traffic."""


class Physics:
    """The equations of one world at one step length, ready to be stepped.

    Stepping is a pure function of state and input, except that it updates the given state.
    """

    def __init__(self, world: World, step: float) -> None:
        self.world = world
        self.step_seconds = step
        self.services = tuple(sorted(world.services, key=lambda one: (world.level(one.id), one.id)))
        self.index = {service.id: place for place, service in enumerate(self.services)}
        self.calls = tuple(
            sorted(world.calls, key=lambda call: (self.index[call.caller], self.index[call.callee]))
        )
        self._describe_services()
        self._describe_calls()
        self._slice_levels()
        self.nominal_latency = self._nominal_latency()
        in_flight = self.demand * self.nominal_latency
        self.pool = np.maximum(POOL_PER_REPLICA * self.replicas, POOL_FACTOR * in_flight)

    def _describe_services(self) -> None:
        services = self.services
        demand = self.world.demand()
        self.demand = np.array([demand[service.id] for service in services])
        self.entries = np.array([self.world.entries.get(one.id, 0.0) for one in services])
        self.cpu = np.array([service.cpu for service in services])
        self.service_time = np.array([service.service_time for service in services])
        self.dispersion = np.array([service.dispersion for service in services])
        self.base_memory = np.array([service.memory for service in services])
        self.base_errors = np.array([service.error_rate for service in services])
        self.replicas = np.array([float(service.replicas) for service in services])
        # A service that nobody calls much still runs on a whole replica.
        self.capacity = np.maximum(self.demand / self.cpu, 1.0)
        self.servers = np.maximum(1.0, self.capacity * self.service_time)
        stateful = np.array(
            [one.kind in {EntityKind.DATABASE, EntityKind.CACHE} for one in services]
        )
        self.garbage_span = np.where(stateful, 0.01, 0.08)
        # At average load a heap fills in 4 to 14 minutes; no two services in step.
        period = 240.0 + 600.0 * np.modf(np.arange(len(services)) * 0.618034)[0]
        self.garbage_rate = self.garbage_span / period / self.cpu

    def _describe_calls(self) -> None:
        calls, index = self.calls, self.index
        self.caller: Int64Array = np.array([index[call.caller] for call in calls], np.int64)
        self.callee: Int64Array = np.array([index[call.callee] for call in calls], np.int64)
        self.per_request = np.array([call.per_request for call in calls])
        self.timeout = np.array([call.timeout for call in calls])
        self.retries = np.array([float(call.retries) for call in calls])
        self.retry_budget = np.array([call.retry_budget for call in calls])
        # What a queue hands on it hands on later: neither its latency nor its errors wait for it.
        self.later: BoolArray = np.array(
            [self.services[index[call.caller]].kind is EntityKind.QUEUE for call in calls], np.bool_
        )
        self.criticality = np.where(self.later, 0.0, [call.criticality for call in calls])
        self.log_timeout = np.log(self.timeout)
        self.consumer: BoolArray = np.zeros(len(self.services), np.bool_)
        self.consumer[self.callee[self.later]] = True
        self.is_queue: BoolArray = np.array(
            [service.kind is EntityKind.QUEUE for service in self.services], np.bool_
        )

    def _slice_levels(self) -> None:
        levels = np.array([self.world.level(service.id) for service in self.services])
        depth = int(levels[-1]) + 1
        bounds = np.searchsorted(levels, np.arange(depth + 1))
        call_bounds = np.searchsorted(self.caller, bounds)
        self._levels = [
            (
                slice(int(bounds[k]), int(bounds[k + 1])),
                slice(int(call_bounds[k]), int(call_bounds[k + 1])),
            )
            for k in range(depth)
        ]

    def _nominal_latency(self) -> Float64Array:
        """Mean seconds of a request without queueing, for the size of pools."""
        latency = self.service_time.copy()
        for services, calls in reversed(self._levels):
            spent = np.where(self.later[calls], 0.0, self.per_request[calls])
            spent = spent * np.minimum(latency[self.callee[calls]], self.timeout[calls])
            latency[services] += self._per_caller(spent, services, calls)
        return latency

    def _per_caller(self, values: Float64Array, services: slice, calls: slice) -> Float64Array:
        """Sum of `values` `[call of the level]` for each service of the level."""
        count = services.stop - services.start
        total = np.bincount(self.caller[calls] - services.start, weights=values, minlength=count)
        return total.astype(np.float64, copy=False)

    def initial_state(self) -> State:
        """The state of a system that has run well for a while."""
        count = len(self.services)
        phase = np.modf(np.arange(count) * 0.7548777)[0]
        return State(
            backlog=np.zeros(count),
            held=self.nominal_latency.copy(),
            failing=np.zeros(len(self.calls)),
            garbage=self.garbage_span * phase,
            leaked=np.zeros(count),
            down=np.zeros(count),
            restarts=np.zeros(count),
        )

    def step(
        self, state: State, demand: Float64Array, wander: Float64Array, effects: Effects
    ) -> Flow:
        """One tick: update `state` and return what went on.

        Args:
            demand: `[service]` requests per second from outside.
            wander: `[service]` factor on service times.
            effects: What the faults of this tick do.
        """
        memory = self.base_memory + state.garbage + state.leaked
        # A heap that is nearly full is collected again and again.
        pressure = np.clip((memory - 0.85) / 0.15, 0.0, 1.0)
        slowdown = wander * (1.0 + pressure * pressure)
        speed = (1.0 - effects.burn) / slowdown
        ready = np.where(state.down > 0, self.replicas - 1.0, self.replicas)
        up = effects.capacity * np.maximum(0.05, ready / self.replicas)
        capacity = self.capacity * speed * up
        limit = np.minimum(capacity, self.pool * up / state.held)

        held_back, tries = self._tries(state)
        arrivals, served, call_rate = self._down(state, demand, limit, tries)
        refused = self._queue_up(state, arrivals, served, limit)
        utilisation = served / capacity
        # What a consumer leaves behind waits in the queue, not in its requests.
        behind = np.where(self.consumer, 0.0, state.backlog / limit)
        own, variance = self._own_time(utilisation, behind, speed, up, effects)
        own_errors = 1.0 - (1.0 - self.base_errors) * (1.0 - effects.errors)
        killed = np.where(state.down > 0, 0.3 / self.replicas, 0.0)
        success = (1.0 - own_errors) * (1.0 - refused) * (1.0 - killed)
        waiting = self._waiting(state, served, own)
        answers = self._up(own, variance, success, tries, held_back)

        latency = answers.latency
        busy = utilisation * (1.0 - effects.burn) + effects.burn
        in_flight = served * latency
        crowd = 0.1 * np.minimum(1.0, in_flight / self.pool)
        follow = min(MOST_REACTION, 1.0 - math.exp(-self.step_seconds / REACTION))
        state.held += follow * (latency - behind - state.held)
        state.failing += follow * (answers.call_failures - state.failing)
        self._use_memory(state, served, effects.leak)
        return Flow(
            arrivals=arrivals,
            served=served,
            answers=answers,
            cpu=IDLE_CPU + (1.0 - IDLE_CPU) * np.minimum(1.0, busy),
            memory=np.minimum(1.0, memory + crowd),
            in_flight=in_flight,
            waiting=waiting,
            restarts=state.restarts.copy(),
            ready=ready,
            call_rate=call_rate,
        )

    def _tries(self, state: State) -> tuple[Float64Array, Float64Array]:
        """`[call]` ratio held back by the circuit breaker, and calls made for each one wanted."""
        failing = state.failing
        beyond = np.clip((failing - BREAKER_OPENS) / (1.0 - BREAKER_OPENS), 0.0, 1.0)
        held_back = (1.0 - BREAKER_PROBES) * beyond
        again = failing * (self.retries > 0) + failing * failing * (self.retries > 1)
        return held_back, (1.0 - held_back) * (1.0 + np.minimum(self.retry_budget, again))

    def _down(
        self, state: State, demand: Float64Array, limit: Float64Array, tries: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Arrivals and served `[service]`, and call rates `[call]`, all per second."""
        count = len(self.services)
        arrivals = demand.copy()
        served = np.empty(count)
        call_rate = np.empty(len(self.calls))
        weight = self.per_request * tries
        waiting = state.backlog / self.step_seconds
        for services, calls in self._levels:
            served[services] = np.minimum(arrivals[services] + waiting[services], limit[services])
            if calls.start != calls.stop:
                rate = served[self.caller[calls]] * weight[calls]
                call_rate[calls] = rate
                arrivals += np.bincount(self.callee[calls], rate, count)
        return arrivals, served, call_rate

    def _queue_up(
        self, state: State, arrivals: Float64Array, served: Float64Array, limit: Float64Array
    ) -> Float64Array:
        """Update the backlog; the ratio `[service]` of arrivals refused."""
        backlog = np.maximum(0.0, state.backlog + (arrivals - served) * self.step_seconds)
        room = limit * np.where(self.consumer, BACKLOG_OF_QUEUE, PATIENCE)
        state.backlog = np.minimum(backlog, room)
        refused = (backlog - state.backlog) / self.step_seconds
        return np.minimum(1.0, refused / np.maximum(arrivals, 1e-9))

    def _own_time(
        self,
        utilisation: Float64Array,
        behind: Float64Array,
        speed: Float64Array,
        up: Float64Array,
        effects: Effects,
    ) -> tuple[Float64Array, Float64Array]:
        """Mean and variance `[service]` of the seconds spent here, `behind` in the backlog."""
        time = self.service_time / speed
        servers = np.maximum(1.0, self.servers * up)
        wait = np.minimum(PATIENCE, wait_for_server(time, servers, utilisation))
        mean = time + wait + behind + effects.delay
        variance = (
            np.square(self.dispersion * time)
            + np.square(wait)
            + np.square(0.2 * behind)
            + np.square(0.25 * effects.delay)
        )
        return mean, variance

    def _up(
        self,
        own: Float64Array,
        variance: Float64Array,
        success: Float64Array,
        tries: Float64Array,
        held_back: Float64Array,
    ) -> Answers:
        """Latency and errors, leaves first.

        Args:
            own: `[service]` mean seconds of the time spent in the service itself.
            variance: `[service]` its variance; used up.
            success: `[service]` ratio of requests that the service itself does not fail.
            tries: `[call]` calls made for each one wanted.
            held_back: `[call]` ratio of wanted calls that a breaker fails at once.
        """
        count = len(self.services)
        latency, location, spread, errors = own.copy(), *(np.empty(count) for _ in range(3))
        failures = np.empty(len(self.calls))
        log_success = np.log(np.maximum(success, 1e-9))
        waits = np.where(self.later, 0.0, self.per_request * tries)
        for services, calls in reversed(self._levels):
            if calls.start != calls.stop:
                callee, timeout = self.callee[calls], self.timeout[calls]
                z = (self.log_timeout[calls] - location[callee]) / spread[callee]
                in_time = normal_cdf(z)
                failed = 1.0 - (1.0 - errors[callee]) * in_time
                failures[calls] = failed
                # E[min(L, T)] of a lognormal L.
                seen = latency[callee] * normal_cdf(z - spread[callee]) + timeout * (1.0 - in_time)
                share = waits[calls] * seen
                latency[services] += self._per_caller(share, services, calls)
                ratio = seen / latency[callee]
                share = waits[calls] * variance[callee] * ratio * ratio
                variance[services] += self._per_caller(share, services, calls)
                lost = self._lost(failed, held_back[calls], calls)
                share = self.per_request[calls] * np.log1p(-lost)
                log_success[services] += self._per_caller(share, services, calls)
            here = latency[services]
            second = np.log1p(variance[services] / (here * here))
            spread[services] = np.sqrt(second)
            location[services] = np.log(here) - 0.5 * second
            errors[services] = -np.expm1(log_success[services])
        return Answers(latency, location, spread, errors, failures)

    def _lost(self, failed: Float64Array, held_back: Float64Array, calls: slice) -> Float64Array:
        """`[call of the level]` ratio of wanted calls whose failure fails the request."""
        mended = (1.0 - REPEATS) * (1.0 - failed ** self.retries[calls])
        unanswered = held_back + (1.0 - held_back) * failed * (1.0 - mended)
        lost: Float64Array = np.minimum(self.criticality[calls] * unanswered, 0.999)
        return lost

    def _use_memory(self, state: State, served: Float64Array, leak: Float64Array) -> None:
        """Allocate, collect, leak; a replica whose memory is full is killed and restarts."""
        step = self.step_seconds
        garbage = state.garbage + self.garbage_rate * step * served / self.capacity
        state.garbage = np.where(garbage > self.garbage_span, 0.0, garbage)
        release = math.exp(-step / RELEASE_SECONDS)
        state.leaked = np.where(leak > 0, state.leaked + leak * step, state.leaked * release)
        state.down = np.maximum(0.0, state.down - step)
        full = self.base_memory + state.garbage + state.leaked >= 1.0
        if full.any():
            state.restarts = state.restarts + full
            state.leaked[full] = 0.0
            state.garbage[full] = 0.0
            state.down[full] = RESTART_SECONDS

    def _waiting(self, state: State, served: Float64Array, own: Float64Array) -> Float64Array:
        """Requests queueing, by Little's law; a queue's messages are its consumers' backlog."""
        waiting = served * np.maximum(0.0, own - self.service_time)
        waiting = np.where(self.consumer, 0.0, waiting)
        if self.is_queue.any():
            later = self.later
            lag = np.bincount(self.caller[later], state.backlog[self.callee[later]], len(served))
            waiting = waiting + lag.astype(np.float64, copy=False)
        return waiting
