"""The physics: how load travels down the graph, and latency and errors up.

One `step` takes the demand from outside and the effects of faults, and yields the flow of one
tick. Arrays are those of `layout`, state and effects those of `flow`; `upkeep` is what the platform
does by itself.

* Down: a service serves what its CPU and its pool of in-flight requests allow; the rest waits
  in a bounded backlog, and beyond that is refused. Only what is served calls further, retries
  included: a bottleneck shields what lies below it.
* Up: a request's latency is its own work, the wait for a free server (M/M/c), and the time its
  callees take, each cut off at the caller's timeout. Means and variances add up, that of the
  number of calls included (law of total variance); quantiles come from the lognormal with these
  two moments (Fenton, IRE Trans. Commun. Systems 8, 1960).
* Nothing diverges: backlogs, pools, retry budgets and circuit breakers bound every loop. Retries,
  breakers and pools react to the previous tick, so that one tick is one pass without iteration.
"""

from __future__ import annotations

import math

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate import upkeep
from dos.simulate.flow import Answers, Calling, Effects, Flow, Own, State, Supply
from dos.simulate.layout import Layout
from dos.simulate.queueing import normal_cdf, wait_for_server
from dos.simulate.world import World

BACKLOG_OF_QUEUE = 3600.0
"""Seconds of work that may wait for the consumers of a queue: it waits in the queue."""
BREAKER_OPENS = 0.6
"""Ratio of failing calls from which on a circuit breaker holds calls back."""
BREAKER_PROBES = 0.3
"""Ratio of calls let through to a callee that fails entirely."""
REPEATS = 0.6
"""Share of failures that would fail again at once; a retry mends the others."""
STORM_RETRIES = 6.0
"""Calls that come on top for each failed one at most, where each layer above tries again by itself
(three tries at each of two layers make nine: Beyer et al., Site Reliability Engineering, 2016,
chapter 22)."""
REACTION = 8.0
"""Seconds in which pools, retries and breakers follow what they observe."""
MOST_REACTION = 0.35
"""Of the way at most in one tick: a loop that reacts fully to the tick before swings forever."""
SLACK, CROWDED = 0.25, 0.7
"""Share of a pool in use up to which much of it is free, and from which on it may limit."""
LEAST_STRIDE, MOST_STRIDE = 0.005, 0.5
"""Logarithms of the factor by which what a full pool lets in changes from tick to tick."""
CALMER, BOLDER, BOLDEST = 0.5, 1.1, 2.0
"""Factors on that stride when it swings, when it does not, and when much of the pool is free."""
LEAST_UP = 0.05
"""Share of its capacity that is counted on however few replicas are left, against division by 0."""
IDLE_CPU = 0.03
"""CPU ratio of a service without traffic."""
PAUSE = 0.12
"""Seconds for which a collection stops a service that is not written for low latency."""
PACKETS = 8.0
"""Packets of a request and its answer."""
TIMED_PACKETS = 3.0
"""Of these, packets whose loss only a timer notices: the first, and the last of either direction.
The others are sent again at once (fast retransmit, RFC 5681, section 3.2)."""
RETRANSMIT_SECONDS = 0.25
"""Until a lost packet is sent again: Linux' 200 ms and a round trip."""
RETRANSMITS = 0.0008
"""Ratio of packets lost on a good day."""
MISSES = 0.08
"""Ratio of a cache's reads that it cannot answer on a good day."""
EMPTY = 4.0
"""Factor on the misses of a cache that has just been restarted."""
DISK_FULL = 0.97
"""Ratio from which on writes begin to fail."""
ROLLING_ERRORS, COLD = 0.003, 1.15
"""Requests cut off by a rolling restart, and factor on the work of replicas that are cold."""


class Physics(Layout):
    """The equations of one world at one step length, ready to be stepped.

    Stepping is a pure function of state and input, except that it updates the given state.
    """

    def __init__(self, world: World, step: float) -> None:
        super().__init__(world)
        self.step_seconds = step

    def no_effects(self) -> Effects:
        """Effects of nothing."""
        return Effects.none(len(self.services), len(self.calls), len(self.nodes))

    def initial_state(self) -> State:
        """The state of a system that has run well for a while."""
        count = len(self.services)
        phase = np.modf(np.arange(count) * 0.7548777)[0]
        zeros = [np.zeros(count) for _ in range(11)]
        return State(
            backlog=zeros[0],
            held=self.nominal_latency.copy(),
            failing=np.zeros(len(self.calls)),
            garbage=self.garbage_span * phase,
            leaked=zeros[1],
            down=zeros[2],
            restarts=zeros[3],
            filled=zeros[4],
            written=upkeep.LOGS_PER_DAY * np.modf(np.arange(count) * 0.569840)[0],
            replicas=self.replicas.copy(),
            coming=zeros[5],
            starting=zeros[6],
            rolling=zeros[7],
            stride=np.full(count, MOST_STRIDE),
            rising=np.zeros(count, np.bool_),
            demanded=self.cpu * self.replicas,
            idle_for=zeros[8],
            lost=zeros[9],
            away=zeros[10],
            drained=np.zeros(len(self.nodes), np.bool_),
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
        there = self._supply(state, wander, effects)
        speed, up, limit = there.speed, there.up, there.limit
        missed = self._missed(state, effects)
        calling = self._calling(state, effects, missed)
        users = demand * effects.demand
        arrivals, served, call_rate = self._down(state, users, limit, calling.reaching)
        refused = self._queue_up(state, arrivals, served, limit, effects.patience)
        # What a consumer leaves behind waits in the queue, not in its requests.
        behind = np.where(self.consumer, 0.0, state.backlog / limit)
        own = self._own_time(served / there.usable, behind, speed, up)
        waiting = self._waiting(state, served, own[0] + self._transit(effects)[0])
        collected = upkeep.use_memory(self, state, served, effects.leak, self.step_seconds)
        success = self._success(state, effects, refused, there.unnoticed, there.disk)
        spent = self._spent(own, effects, collected, success, refused)
        answers = self._up(spent, calling, effects)

        latency = answers.latency
        # What has no replica left uses no CPU.
        standing = np.minimum(there.ready / self.replicas, 1.0 - there.unnoticed - state.lost)
        cpu = self._cpu(served / there.capacity, state, effects)
        cpu = cpu * np.clip(standing / LEAST_UP, 0.0, 1.0)
        in_flight = served * latency
        crowd = 0.1 * np.minimum(1.0, in_flight / self.pool)
        self._hold(state, latency - behind, served, there.pool)
        self._follow(state, answers, served, cpu, effects)
        memory = np.minimum(1.0, there.memory + crowd)
        return Flow(
            arrivals=arrivals,
            served=served,
            answers=answers,
            own=spent,
            calling=calling,
            effects=effects,
            cpu=cpu,
            memory=memory,
            disk=there.disk,
            in_flight=in_flight,
            pool=there.pool,
            waiting=waiting,
            restarts=state.restarts.copy(),
            replicas=state.replicas.copy(),
            ready=there.ready,
            retransmits=RETRANSMITS + (1.0 - RETRANSMITS) * effects.loss,
            hits=np.where(self.cache, 1.0 - np.minimum(1.0, MISSES * missed), 0.0),
            call_rate=call_rate,
            node_cpu=upkeep.node_cpu(self, state, cpu * up, effects),
            node_memory=upkeep.node_memory(self, memory),
            node_up=1.0 - np.rint(effects.node_out),
            node_skew=effects.node_skew.copy(),
        )

    def _supply(self, state: State, wander: Float64Array, effects: Effects) -> Supply:
        """What the platform provides in this tick; updates what it does by itself."""
        step = self.step_seconds
        upkeep.roll(state, step)
        unnoticed = upkeep.reschedule(self, state, effects, step)
        memory = self.base_memory + state.garbage + state.leaked
        speed = self._speed(state, memory, wander, effects)
        ready = upkeep.replicas_ready(self, state)
        up = effects.capacity * np.maximum(LEAST_UP, ready / self.replicas)
        capacity = self.capacity * speed * up
        usable = capacity * effects.lock
        pool = self.pool * effects.pool * up
        return Supply(
            memory=memory,
            disk=upkeep.disk_of(self, state),
            ready=ready,
            unnoticed=unnoticed,
            speed=speed,
            up=up,
            capacity=capacity,
            usable=usable,
            pool=pool,
            limit=np.minimum(usable, pool / state.held),
        )

    def _spent(
        self,
        own: tuple[Float64Array, Float64Array],
        effects: Effects,
        collected: BoolArray,
        success: Float64Array,
        refused: Float64Array,
    ) -> Own:
        """What a request spends in each service, on its way there included.

        Args:
            own: Mean and variance `[service]` of the seconds in the service.
            effects: What happens on the way.
            collected: `[service]` whether a collection ran.
            success: `[service]` ratio of requests that the service itself does not fail.
            refused: `[service]` ratio of requests refused.
        """
        transit = self._transit(effects)
        mean, variance = own[0] + transit[0], own[1] + transit[1]
        self._pause(collected, mean, variance)
        return Own(
            mean=mean, variance=variance, transit=transit[0], success=success, refused=refused
        )

    def _follow(
        self,
        state: State,
        answers: Answers,
        served: Float64Array,
        cpu: Float64Array,
        effects: Effects,
    ) -> None:
        """Callers, volumes and autoscalers follow what they saw in this tick."""
        step = self.step_seconds
        follow = min(MOST_REACTION, 1.0 - math.exp(-step / REACTION))
        state.failing += follow * (answers.call_failures - state.failing)
        upkeep.use_disk(self, state, served, effects.fill, step)
        if self.autoscaled.any():
            upkeep.autoscale(self, state, cpu, step)

    def _speed(
        self, state: State, memory: Float64Array, wander: Float64Array, effects: Effects
    ) -> Float64Array:
        """`[service]` factor on the speed at which a replica works."""
        # A heap that is nearly full is collected again and again.
        pressure = np.clip((memory - 0.85) / 0.15, 0.0, 1.0)
        slowdown = wander * (1.0 + pressure * pressure) * effects.work
        if state.rolling.any():
            slowdown = np.where(state.rolling > 0, COLD * slowdown, slowdown)
        speed = (1.0 - effects.burn) / slowdown
        if effects.node_burn.any():
            speed = speed * (1.0 - self._stolen(state, effects))
        return speed

    def _stolen(self, state: State, effects: Effects) -> Float64Array:
        """`[service]` share of its CPU time that neighbours on its nodes take."""
        return self.share_of_nodes(np.where(state.drained, 0.0, effects.node_burn))

    def _cpu(self, busy: Float64Array, state: State, effects: Effects) -> Float64Array:
        """`[service]` ratio of the CPU limit in use; what a neighbour takes is not ours."""
        own = 1.0 - effects.burn
        if effects.node_burn.any():
            # Of the time a neighbour leaves, `busy`; the rest is not accounted to the container.
            own = own * (1.0 - self._stolen(state, effects))
        used = np.minimum(1.0, busy * own + effects.burn)
        used = used + effects.background * (1.0 - used)
        return IDLE_CPU + (1.0 - IDLE_CPU) * used

    def _success(
        self,
        state: State,
        effects: Effects,
        refused: Float64Array,
        unnoticed: Float64Array,
        disk: Float64Array,
    ) -> Float64Array:
        """`[service]` ratio of requests that the service itself does not fail."""
        killed = np.where(state.down > 0, 0.3 / self.replicas, 0.0)
        success = (1.0 - self.base_errors) * (1.0 - effects.errors)
        success = success * (1.0 - refused) * (1.0 - killed) * (1.0 - unnoticed)
        if state.rolling.any():
            success = success * np.where(state.rolling > 0, 1.0 - ROLLING_ERRORS, 1.0)
        if effects.loss.any():
            # A packet lost three times in a row breaks the connection.
            success = success * (1.0 - effects.loss**3) ** PACKETS
        full = np.clip((disk - DISK_FULL) / (1.0 - DISK_FULL), 0.0, 1.0)
        if full.any():
            success = success * (1.0 - self.write_share * full)
        if effects.node_errors.any():
            failing = self.share_of_nodes(np.where(state.drained, 0.0, effects.node_errors))
            success = success * (1.0 - np.where(self.stateful, 0.0, failing))
        return success

    def _missed(self, state: State, effects: Effects) -> Float64Array:
        """`[service]` factor on the misses of a cache."""
        if not state.rolling.any():
            return effects.missed
        return np.where(self.cache & (state.rolling > 0), EMPTY * effects.missed, effects.missed)

    def _calling(self, state: State, effects: Effects, missed: Float64Array) -> Calling:
        """What callers do, given what they have seen of their callees."""
        failing, storm = state.failing, effects.storm
        beyond = np.clip((failing - BREAKER_OPENS) / (1.0 - BREAKER_OPENS), 0.0, 1.0)
        held_back = (1.0 - BREAKER_PROBES) * beyond * self.breaker
        again = failing * (self.retries > 0) + failing * failing * (self.retries > 1)
        again = np.minimum(self.retry_budget, again)
        if storm.any():
            held_back = held_back * (1.0 - storm)
        tries = (1.0 - held_back) * (1.0 + again)
        wanted = self.per_request * effects.wanted
        for place in np.flatnonzero(missed > 1.0):
            wanted[self.behind_cache(self.services[place].id)] *= missed[place]
        # Nobody waits for what a client asks again after it gave up, or its own client did.
        besides = storm * STORM_RETRIES * failing
        reaching = wanted * (tries + besides) * (1.0 - effects.unreached)
        return Calling(wanted, again, held_back, tries, besides, reaching)

    def _down(
        self, state: State, demand: Float64Array, limit: Float64Array, reaching: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Arrivals and served `[service]`, and call rates `[call]`, all per second.

        Args:
            reaching: `[call]` calls that reach the callee for one request of the caller.
        """
        count = len(self.services)
        arrivals = demand.copy()
        served = np.empty(count)
        call_rate = np.empty(len(self.calls))
        waiting = state.backlog / self.step_seconds
        for services, calls in self.levels:
            served[services] = np.minimum(arrivals[services] + waiting[services], limit[services])
            if calls.start != calls.stop:
                rate = served[self.caller[calls]] * reaching[calls]
                call_rate[calls] = rate
                arrivals += np.bincount(self.callee[calls], rate, count)
        return arrivals, served, call_rate

    def _queue_up(
        self,
        state: State,
        arrivals: Float64Array,
        served: Float64Array,
        limit: Float64Array,
        patience: Float64Array,
    ) -> Float64Array:
        """Update the backlog; the ratio `[service]` of arrivals refused."""
        backlog = np.maximum(0.0, state.backlog + (arrivals - served) * self.step_seconds)
        room = limit * np.where(self.consumer, BACKLOG_OF_QUEUE, self.patience * patience)
        state.backlog = np.minimum(backlog, room)
        refused = (backlog - state.backlog) / self.step_seconds
        return np.minimum(1.0, refused / np.maximum(arrivals, 1e-9))

    def _own_time(
        self,
        utilisation: Float64Array,
        behind: Float64Array,
        speed: Float64Array,
        up: Float64Array,
    ) -> tuple[Float64Array, Float64Array]:
        """Mean and variance `[service]` of the seconds spent here, `behind` in the backlog."""
        time = self.service_time / speed
        servers = np.maximum(1.0, self.servers * up)
        # Who waits for a lock waits as for a server. A backlog is the queue itself: who stands in
        # it does not wait a second time.
        wait = np.minimum(self.patience, wait_for_server(time, servers, utilisation))
        longest = np.maximum(wait, behind)
        # Who stands in a backlog waits about as long as the next one.
        by_chance = wait * (1.0 - behind / np.maximum(longest, 1e-9))
        variance = np.square(self.dispersion * time)
        variance = variance + np.square(by_chance) + np.square(0.2 * behind)
        return time + longest, variance

    def _transit(self, effects: Effects) -> tuple[Float64Array, Float64Array]:
        """Mean and variance `[service]` of the seconds that a request is on its way to it."""
        mean, variance = effects.delay, np.square(0.25 * effects.delay)
        if effects.loss.any():
            hit = 1.0 - (1.0 - effects.loss) ** TIMED_PACKETS
            mean = mean + hit * RETRANSMIT_SECONDS
            # Lost again with the same probability, and the wait doubles: a heavy tail.
            variance = variance + hit * (2.0 - hit) * RETRANSMIT_SECONDS**2
        return mean, variance

    def _pause(self, collected: BoolArray, own: Float64Array, variance: Float64Array) -> None:
        """Who arrives during a collection waits for its end; changes `own` and `variance`."""
        if collected.any():
            paused = collected & ~self.stateful
            share = min(1.0, PAUSE / self.step_seconds)
            own += np.where(paused, share * PAUSE / 2, 0.0)
            variance += np.where(paused, share * PAUSE * PAUSE / 3, 0.0)

    def _up(self, own: Own, calling: Calling, effects: Effects) -> Answers:
        """Latency and errors, leaves first.

        Args:
            own: What services spend and fail by themselves.
            calling: What callers do.
            effects: What happens to calls on their way.
        """
        count = len(self.services)
        latency, variance = own.mean.copy(), own.variance.copy()
        location, spread, errors = (np.empty(count) for _ in range(3))
        failures = np.empty(len(self.calls))
        log_success = np.log(np.maximum(own.success, 1e-9))
        # 1.2 calls for a request are one, and a second one for every fifth request: a callee that
        # few requests need fails and slows only these few.
        whole = np.floor(calling.wanted)
        part = calling.wanted - whole
        here = np.where(self.later, 0.0, calling.tries)
        waits, uneven = here * calling.wanted, here * here * part * (1.0 - part)
        timeout, log_timeout = self.timeout, self.log_timeout
        if effects.call_delay.any():
            timeout = np.maximum(1e-3, timeout - effects.call_delay)
            log_timeout = np.log(timeout)
        reaching = 1.0 - effects.unreached
        for services, calls in reversed(self.levels):
            if calls.start != calls.stop:
                callee = self.callee[calls]
                z = (log_timeout[calls] - location[callee]) / spread[callee]
                in_time = normal_cdf(z)
                failed = 1.0 - (1.0 - errors[callee]) * in_time * reaching[calls]
                failures[calls] = failed
                # E[min(L, T)] of a lognormal L.
                seen = latency[callee] * normal_cdf(z - spread[callee])
                seen = (seen + timeout[calls] * (1.0 - in_time)) * reaching[calls]
                ratio = seen / latency[callee]
                spent = seen + effects.call_delay[calls]
                latency[services] += self.per_caller(waits[calls] * spent, services, calls)
                share = waits[calls] * variance[callee] * ratio * ratio
                share += uneven[calls] * spent * spent
                variance[services] += self.per_caller(share, services, calls)
                lost = self._lost(failed, calling.held_back[calls], calls)
                share = whole[calls] * np.log1p(-lost) + np.log1p(-part[calls] * lost)
                log_success[services] += self.per_caller(share, services, calls)
            mean = latency[services]
            second = np.log1p(variance[services] / (mean * mean))
            spread[services] = np.sqrt(second)
            location[services] = np.log(mean) - 0.5 * second
            errors[services] = -np.expm1(log_success[services])
        return Answers(latency, location, spread, errors, failures)

    def _lost(self, failed: Float64Array, held_back: Float64Array, calls: slice) -> Float64Array:
        """`[call of the level]` ratio of wanted calls whose failure fails the request."""
        mended = (1.0 - REPEATS) * (1.0 - failed ** self.retries[calls])
        unanswered = held_back + (1.0 - held_back) * failed * (1.0 - mended)
        lost: Float64Array = np.minimum(self.criticality[calls] * unanswered, 0.999)
        return lost

    def _hold(
        self, state: State, seen: Float64Array, served: Float64Array, pool: Float64Array
    ) -> None:
        """Follow the seconds `[service]` for which requests hold a place in the pool.

        A full pool lets in as many requests as leave it. That settles in far less than a tick, and
        who follows the tick before swings for ever between too many and too few. So a full pool
        starts from what is served now and moves by a stride that halves with each change of
        direction (as Rprop does: Riedmiller and Braun, A Direct Adaptive Method for Faster
        Backpropagation Learning, ICNN 1993).

        Args:
            seen: `[service]` seconds for which a request of this tick holds its place.
            served: `[service]` requests per second.
            pool: `[service]` places.
        """
        follow = min(MOST_REACTION, 1.0 - math.exp(-self.step_seconds / REACTION))
        used = served * seen / pool
        full = (used > CROWDED) | (served * state.held > 0.99 * pool)
        held = np.where(full, np.maximum(state.held, pool / np.maximum(served, 1e-9)), state.held)
        gap = np.log(np.maximum(seen, 1e-6) / held)
        up = gap > 0
        factor = np.where(up == state.rising, np.where(used < SLACK, BOLDEST, BOLDER), CALMER)
        stride = np.clip(state.stride * factor, LEAST_STRIDE, MOST_STRIDE)
        state.stride = np.where(full, stride, MOST_STRIDE)
        state.rising = up
        moved = held * np.exp(np.clip(gap, -state.stride, state.stride))
        state.held = np.where(full, moved, held + follow * (seen - held))

    def _waiting(self, state: State, served: Float64Array, own: Float64Array) -> Float64Array:
        """Requests queueing, by Little's law; a queue's messages are its consumers' backlog."""
        waiting = served * np.maximum(0.0, own - self.service_time)
        waiting = np.where(self.consumer, 0.0, waiting)
        if self.is_queue.any():
            later = self.later
            lag = np.bincount(self.caller[later], state.backlog[self.callee[later]], len(served))
            waiting = waiting + lag.astype(np.float64, copy=False)
        return waiting
