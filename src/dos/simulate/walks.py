"""One request walked through the call graph, drawn from what the physics says of a tick.

A service works for a while of its own (lognormal), makes each call as often as `per_request` says
(1.2 calls are one, and a second one in every fifth walk), gives up at the timeout, tries again,
falls back, or fails: every step has the probability that it has in `propagation`. The mean latency
and the error ratio of many walks are therefore those of the metrics; their tail is that of a sum,
where the metrics have the lognormal that stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from dos.simulate.engine import Played, Simulation
from dos.simulate.fleet import Fleet
from dos.simulate.pods import Pod
from dos.simulate.propagation import REPEATS, RETRANSMIT_SECONDS, TIMED_PACKETS
from dos.simulate.semantics import TRACED, Operation
from dos.simulate.symptoms import Symptom, Symptoms

MOST_SPANS = 1_000
"""Spans of one walk; beyond them callees are drawn from their totals, without spans."""
MOST_TRIES = 5
"""Further tries of one call."""
HOP = 0.0003
"""Seconds that a request and its answer are on their way in a good network."""
TIMEOUT, BREAKER, UPSTREAM = "timeout", "circuit_breaker_open", "upstream"
"""What can be wrong beside a `Symptom` and an `Obstacle`: the last is something further down."""
STATUS: dict[str, int] = {
    Symptom.INTERNAL: 500,
    Symptom.OVERLOADED: 503,
    Symptom.KILLED: 502,
    Symptom.GONE: 502,
    Symptom.ROLLING: 503,
    Symptom.RESET: 502,
    Symptom.DISK_FULL: 500,
    Symptom.CLOCK: 401,
}
"""HTTP status that a failed request is answered with."""


@dataclass(slots=True, eq=False)
class Draft:
    """A span as it is being made; times are seconds since the walk began."""

    parent: Draft | None
    operation: Operation
    place: int
    """Of the service that it is a span of."""
    pod: Pod
    start: float
    end: float
    error: str = ""
    """What was wrong: a `Symptom`, an `Obstacle`, or one of those above; empty if nothing was."""
    status: int = 200
    """HTTP status of the answer; 0 where there was none."""
    resent: int = 0
    """How often the same call was made before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking a service."""

    seconds: float
    """Until the answer is back, for a caller who waits for ever."""
    error: str = ""
    status: int = 200


class Today:
    """A tick of the physics, laid out for walks: lists, since a walk reads single values."""

    def __init__(self, simulation: Simulation, fleet: Fleet, played: Played) -> None:
        physics, flow, state = simulation.physics, played.flow, played.state
        effects, answers, own = flow.effects, flow.answers, flow.own
        self.physics, self.fleet = physics, fleet
        self.symptoms = Symptoms(simulation, played)
        spread = np.log1p(own.variance / np.square(own.mean))
        self.own_location: list[float] = (np.log(own.mean) - 0.5 * spread).tolist()
        self.own_spread: list[float] = np.sqrt(spread).tolist()
        self.location: list[float] = answers.location.tolist()
        self.spread: list[float] = answers.spread.tolist()
        self.errors: list[float] = answers.errors.tolist()
        hit = 1.0 - (1.0 - effects.loss) ** TIMED_PACKETS
        away = np.minimum(HOP, 0.1 * own.mean) + effects.delay + hit * RETRANSMIT_SECONDS
        self.on_way: list[float] = np.minimum(0.95, away / own.mean).tolist()
        """`[service]` share of its own time that a request is on its way to it and back."""
        skewed = np.where(state.drained, 0.0, effects.node_errors)
        mean = physics.share_of_nodes(skewed) if skewed.any() else np.zeros(len(own.mean))
        mean = np.where(physics.stateful, 0.0, mean)
        left = np.minimum(1.0, own.success / np.maximum(1e-9, 1.0 - mean))
        self.own_failure: list[float] = (1.0 - left).tolist()
        """`[service]` ratio of requests that it fails itself, whatever its clock shows."""
        self.skewed: list[float] = skewed.tolist()
        """`[node]` ratio of requests that services on it fail because of its clock."""
        self.checks_clock: list[bool] = (~physics.stateful).tolist()
        burnt = np.where(state.drained, 0.0, effects.node_burn)
        self.slowed: list[float] = (1.0 / (1.0 - np.minimum(burnt, 0.99))).tolist()
        self.calm = not burnt.any()
        self.behind: list[float] = (state.backlog / np.maximum(flow.served, 1e-9)).tolist()
        """`[service]` seconds that a message waits for its consumer."""
        self.skew: list[float] = flow.node_skew.tolist()
        """`[node]` seconds its clock is ahead."""
        calling = flow.calling
        self.wanted: list[float] = calling.wanted.tolist()
        self.held_back: list[float] = calling.held_back.tolist()
        again = calling.again / np.maximum(answers.call_failures, 1e-6)
        self.again: list[float] = np.minimum(MOST_TRIES, again).tolist()
        """`[call]` further tries after a failed one."""
        besides = calling.besides / np.maximum(answers.call_failures, 1e-6)
        self.besides: list[float] = np.minimum(MOST_TRIES, besides).tolist()
        """`[call]` calls made besides after a failed one, for which nobody waits."""
        self.unreached: list[float] = effects.unreached.tolist()
        self.call_delay: list[float] = effects.call_delay.tolist()
        self.entering: list[float] = (physics.entries * effects.demand).tolist()
        """`[service]` requests per second from users."""


class Plan:
    """What does not change from tick to tick: who calls whom, and how that is named.

    Args:
        fleet: Its world.
        serves: Names the span of a service.
        calls: Names the span of a call.
    """

    def __init__(
        self,
        fleet: Fleet,
        serves: Callable[[int], Operation],
        calls: Callable[[int], Operation],
    ) -> None:
        physics = fleet.physics
        self.serves, self.calls = serves, calls
        self.calls_of: list[list[int]] = [[] for _ in physics.services]
        for call, caller in enumerate(physics.caller.tolist()):
            self.calls_of[caller].append(call)
        self.callee: list[int] = physics.callee.tolist()
        self.timeout: list[float] = physics.timeout.tolist()
        self.criticality: list[float] = physics.criticality.tolist()
        self.later: list[bool] = physics.later.tolist()
        self.traced = [service.kind in TRACED for service in physics.services]


class Walk:
    """The course of one request; `drafts` are its spans, the root first."""

    def __init__(self, plan: Plan, today: Today, rng: Random) -> None:
        self.drafts: list[Draft] = []
        self._plan, self._today, self._rng = plan, today, rng

    def serve(
        self,
        place: int,
        parent: Draft | None,
        at: float,
        *,
        forced: str = "",
        at_least: float = 0.0,
    ) -> Outcome:
        """The service at `place` is asked at `at` seconds.

        Args:
            place: Of the service.
            parent: The call it is asked by; None at an entry point.
            at: Seconds since the walk began.
            forced: What is wrong again, for who asked before.
            at_least: Seconds that it takes again.
        """
        plan, today, rng = self._plan, self._today, self._rng
        if len(self.drafts) >= MOST_SPANS:
            seconds = rng.lognormvariate(today.location[place], today.spread[place])
            failed = forced or (Symptom.INTERNAL if rng.random() < today.errors[place] else "")
            return Outcome(max(seconds, at_least), failed, 500 if failed else 200)
        pods = today.fleet.serving(place)
        pod = rng.choice(self._again_there(pods, forced)) if pods else None
        own = rng.lognormvariate(today.own_location[place], today.own_spread[place])
        own = max(own * self._slowed(pod, pods), at_least)
        error = forced or self._fails(place, pod)
        status = STATUS.get(error, 502) if error else 200
        way = 0.0 if parent is None else own * today.on_way[place]
        draft = None
        # Who was killed or is gone tells nobody.
        tells = parent is None or error not in {Symptom.KILLED, Symptom.GONE}
        if plan.traced[place] and pod is not None and tells:
            draft = Draft(parent, plan.serves(place), place, pod, at + way / 2, at + way / 2)
            self.drafts.append(draft)
        calls = self._calls(place)
        slices = self._slices(own - way, len(calls) + 1)
        now = at + way / 2 + slices[0]
        for call, work in zip(calls, slices[1:], strict=True):
            now, lost = self._call(call, draft or parent, pod if draft else None, now)
            now += work
            if lost and rng.random() < plan.criticality[call] and not error:
                error, status = UPSTREAM, 504 if lost == TIMEOUT else 502
        if draft is not None:
            draft.end, draft.error, draft.status = now, error, status
        now += way / 2
        if not error:
            self._hand_on(place, parent, now)
        return Outcome(now - at, error, status)

    def _again_there(self, pods: list[Pod], forced: str) -> list[Pod]:
        """The replicas that can fail a request as `forced` says."""
        skewed = self._today.skewed
        return [pod for pod in pods if forced == Symptom.CLOCK and skewed[pod.node]] or pods

    def _slowed(self, pod: Pod | None, pods: list[Pod]) -> float:
        """Factor on the time of a replica whose machine is busy, 1 on average over all."""
        today = self._today
        if today.calm or pod is None:
            return 1.0
        mean = sum(today.slowed[one.node] for one in pods) / len(pods)
        return today.slowed[pod.node] / mean

    def _fails(self, place: int, pod: Pod | None) -> str:
        today, rng = self._today, self._rng
        clock = 0.0 if pod is None else today.skewed[pod.node]
        if clock and today.checks_clock[place] and rng.random() < clock:
            return Symptom.CLOCK
        if rng.random() < today.own_failure[place]:
            return today.symptoms.of(place, rng, clock=False)
        return ""

    def _calls(self, place: int) -> list[int]:
        """The calls that this request makes and waits for, one after the other."""
        plan, wanted = self._plan, self._today.wanted
        made = []
        for call in plan.calls_of[place]:
            if not plan.later[call]:
                made += [call] * self._count(wanted[call])
        return made

    def _slices(self, seconds: float, count: int) -> list[float]:
        """Own time before, between and after the calls."""
        if count == 1:
            return [seconds]
        cuts = sorted(self._rng.random() for _ in range(count - 1))
        return [
            seconds * (end - begin) for begin, end in zip([0.0, *cuts], [*cuts, 1.0], strict=True)
        ]

    def _call(
        self, call: int, parent: Draft | None, pod: Pod | None, now: float
    ) -> tuple[float, str]:
        """One wanted call with its retries: when it is over, and what was wrong in the end."""
        today, rng = self._today, self._rng
        if rng.random() < today.held_back[call]:
            self._client(call, parent, pod, now, BREAKER)
            return now, BREAKER
        now, error = self._try(call, parent, pod, now)
        if not error:
            return now, ""
        repeats = rng.random() < REPEATS
        tries = self._count(today.again[call])
        for number in range(self._count(today.besides[call])):
            self._try(call, parent, pod, now, resent=1 + tries + number)
        for number in range(tries):
            again = error if repeats else ""
            now, wrong = self._try(call, parent, pod, now, repeated=again, resent=1 + number)
            if not wrong:
                return now, ""
        return now, error

    def _count(self, mean: float) -> int:
        """One of the two whole numbers around `mean`."""
        whole = int(mean)
        return whole + (self._rng.random() < mean - whole)

    def _try(
        self,
        call: int,
        parent: Draft | None,
        pod: Pod | None,
        now: float,
        *,
        repeated: str = "",
        resent: int = 0,
    ) -> tuple[float, str]:
        """One call: when the caller goes on, and what was wrong.

        Args:
            call: Which one.
            parent: The span of the caller.
            pod: The caller's, if it is traced.
            now: Seconds since the walk began.
            repeated: What is wrong with it again.
            resent: How often it was made before.
        """
        plan, today, rng = self._plan, self._today, self._rng
        client = self._client(call, parent, pod, now)
        if client is not None:
            client.resent = resent
        begin = now + today.call_delay[call]
        arrives = repeated in {"", TIMEOUT, UPSTREAM} or isinstance(repeated, Symptom)
        if not arrives or (not repeated and rng.random() < today.unreached[call]):
            error, end, status = repeated or today.symptoms.on_way(call, rng), begin, 0
        else:
            patience = max(1e-3, plan.timeout[call] - today.call_delay[call])
            outcome = self.serve(
                plan.callee[call],
                client or parent,
                begin,
                forced="" if repeated == TIMEOUT else repeated,
                at_least=1.01 * patience if repeated == TIMEOUT else 0.0,
            )
            error, end, status = outcome.error, begin + outcome.seconds, outcome.status
            if outcome.seconds > patience:
                error, end, status = TIMEOUT, begin + patience, 0
        if client is not None:
            client.end, client.error, client.status = end, error, status
        return end, error

    def _client(
        self, call: int, parent: Draft | None, pod: Pod | None, now: float, error: str = ""
    ) -> Draft | None:
        if pod is None or parent is None:
            return None
        draft = Draft(parent, self._plan.calls(call), parent.place, pod, now, now, error, 0)
        self.drafts.append(draft)
        return draft

    def _hand_on(self, place: int, parent: Draft | None, now: float) -> None:
        """What a queue took in reaches its consumers once they are through with what was before."""
        plan, today = self._plan, self._today
        for call in plan.calls_of[place]:
            if plan.later[call]:
                for _ in range(self._count(today.wanted[call])):
                    consumer = plan.callee[call]
                    self.serve(consumer, parent, now + today.behind[consumer])
