"""Sampled traces: single requests of the last tick as OpenTelemetry spans.

Walks have dice of their own: whether and how many are taken changes nothing in the simulation.
A span carries the time of its host, so that a clock that is wrong shifts what its pods report.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cache
from random import Random

from dos.kit.clock import SECOND
from dos.simulate.engine import Simulation
from dos.simulate.fleet import Fleet
from dos.simulate.pods import Pod
from dos.simulate.semantics import Attributes, SpanKind, called, served
from dos.simulate.walks import Draft, Plan, Today, Walk

MOST_WAITING = 20_000
"""Spans kept that have not ended yet, such as of messages that wait; the latest go first."""
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One finished piece of work. Times are microseconds since the epoch by its host's clock."""

    trace: int
    """128 bits."""
    span: int
    """64 bits."""
    parent: int | None
    name: str
    kind: SpanKind
    start: int
    end: int
    pod: Pod
    error: str = ""
    """What was wrong, in one word; empty if nothing was."""
    attributes: Attributes = ()


class Tracer:
    """Draws traces of what the last tick was like.

    Args:
        simulation: Gives the ticks.
        fleet: Its pods; whoever calls `sample` has it follow first.
        seed: Of the walks' own dice.
        per_tick: Traces drawn for each tick.
    """

    def __init__(
        self, simulation: Simulation, fleet: Fleet, *, seed: int = 0, per_tick: int = 10
    ) -> None:
        self._simulation = simulation
        self._fleet = fleet
        self._rng = Random(f"traces/{seed}")  # noqa: S311  a simulation, not a secret
        self._per_tick = per_tick
        self._waiting: list[tuple[int, int, Span]] = []
        self._taken = 0
        physics = simulation.physics
        self._plan = Plan(
            fleet, cache(lambda place: served(physics, place)), cache(lambda c: called(physics, c))
        )
        self.dropped = 0
        """Spans given up because too many had not ended yet."""

    def sample(self) -> list[Span]:
        """Spans that ended in the last tick, in the order of their ends."""
        simulation, played = self._simulation, self._simulation.last
        if played is None:
            return []
        today = Today(simulation, self._fleet, played)
        if sum(today.entering) > 0:
            for _ in range(self._per_tick):
                self._take(today)
        now = simulation.now * (_MICROS // SECOND)
        ended = []
        while self._waiting and self._waiting[0][0] <= now:
            ended.append(heapq.heappop(self._waiting)[2])
        if len(self._waiting) > MOST_WAITING:
            self._waiting.sort()
            self.dropped += len(self._waiting) - MOST_WAITING
            del self._waiting[MOST_WAITING:]
        return ended

    def _take(self, today: Today) -> None:
        """One walk whose answer is given somewhere in the tick."""
        rng = self._rng
        walk = Walk(self._plan, today, rng)
        place = rng.choices(range(len(today.entering)), today.entering)[0]
        walk.serve(place, None, 0.0)
        if not walk.drafts:
            return  # users come in at something that has no spans
        root = walk.drafts[0]
        ends = self._simulation.now / SECOND - rng.random() * self._simulation.step_seconds
        began = round((ends - root.end) * _MICROS)
        trace = rng.getrandbits(128) | 1
        ids = {draft: rng.getrandbits(64) | 1 for draft in walk.drafts}
        skew = today.skew
        for draft in walk.drafts:
            start, end = round(draft.start * _MICROS), round(draft.end * _MICROS)
            here = began + round(skew[draft.pod.node] * _MICROS)
            span = Span(
                trace=trace,
                span=ids[draft],
                parent=None if draft.parent is None else ids[draft.parent],
                name=draft.operation.name,
                kind=draft.operation.kind,
                start=here + start,
                end=here + end,
                pod=draft.pod,
                error=draft.error,
                attributes=_attributes(draft),
            )
            self._taken += 1
            heapq.heappush(self._waiting, (began + end, self._taken, span))


def _attributes(draft: Draft) -> Attributes:
    """Those of the operation, and what came of it."""
    attributes = draft.operation.attributes
    speaks_http = attributes[0][0] == "http.request.method"
    if speaks_http and draft.status:
        attributes += (("http.response.status_code", draft.status),)
    if speaks_http and draft.resent:
        attributes += (("http.request.resend_count", draft.resent),)
    if draft.error:
        told = str(draft.status) if speaks_http and draft.status else draft.error
        attributes += (("error.type", told),)
    return attributes
