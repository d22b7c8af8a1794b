"""What stands in the braces of a log line: drawn, or read off the tick where it means something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from dos.simulate.engine import Played
from dos.simulate.log_templates import Event
from dos.simulate.occasions import LOCK_SECONDS, POOL_SECONDS, SLOW_SECONDS, WRONG_CLOCK
from dos.simulate.pods import Pod
from dos.simulate.propagation import Physics
from dos.simulate.semantics import Attribute, Attributes, route_of
from dos.simulate.traces import Span

_TABLES = ("orders", "users", "items", "sessions", "payments", "stock")
_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "callee": "server.address",
    "id": "request.id",
    "user": "user.id",
    "ms": "duration_ms",
}
"""Attributes of a structured line, for words that have one."""
_DRAWN: dict[str, Callable[[Random], Attribute]] = {
    "id": lambda rng: f"{rng.getrandbits(48):012x}",
    "user": lambda rng: f"u{rng.randrange(100_000):05d}",
    "ip": lambda rng: f"10.64.{rng.randrange(8)}.{2 + rng.randrange(250)}",
    "port": lambda rng: rng.randrange(32_768, 61_000),
    "path": lambda rng: f"/var/lib/data/{rng.randrange(16_384, 99_999)}",
    "lock": lambda rng: rng.choice(_TABLES),
    "m": lambda rng: rng.randrange(1, 5_000),
}
"""Words that mean nothing."""
_LEAST = {
    Event.REQUEST: 0.0,
    Event.SLOW: SLOW_SECONDS,
    Event.POOL: POOL_SECONDS,
    Event.LOCK: LOCK_SECONDS,
}
"""Seconds that a request took at least of which such a line tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line is about."""

    event: Event
    place: int
    """Of the service that writes."""
    method: str
    """HTTP method that it is asked with, or what it does with messages."""
    node: int
    """Place of the machine that it is written on."""
    call: int | None = None
    """The call that it is about, if it is about one."""
    pod: Pod | None = None
    """Who writes; None for the machine itself."""
    span: Span | None = None
    """The request that it is about, if it was sampled."""


class Words(dict[str, Attribute]):
    """The words of one line, each found when it is asked for."""

    def __init__(self, physics: Physics, played: Played, line: Line, rng: Random) -> None:
        super().__init__()
        self._physics, self._played, self._line, self._rng = physics, played, line, rng
        self._means: dict[str, Callable[[], Attribute]] = {
            "service": lambda: physics.services[line.place].name,
            "version": self._version,
            "route": lambda: route_of(physics.services[line.place]),
            "method": lambda: line.method,
            "status": self._status,
            "callee": self._callee,
            "timeout": self._timeout,
            "ms": self._millis,
            "seconds": self._seconds,
            "pct": lambda: round(100 * self._ratio()),
            "n": self._number,
        }

    def __missing__(self, word: str) -> Attribute:
        found = self._means[word]() if word in self._means else _DRAWN[word](self._rng)
        self[word] = found
        return found

    def attributes(self) -> Attributes:
        """The words that were asked for, as attributes of the line."""
        return tuple((_NAMES[word], value) for word, value in self.items() if word in _NAMES)

    def _version(self) -> str:
        pod = self._line.pod
        return self._physics.services[self._line.place].version if pod is None else pod.version

    def _callee(self) -> str:
        call = self._line.call
        if call is None:
            return "upstream"
        return self._physics.services[int(self._physics.callee[call])].name

    def _timeout(self) -> float:
        call = self._line.call
        return 1.0 if call is None else round(float(self._physics.timeout[call]), 3)

    def _status(self) -> int:
        span, event = self._line.span, self._line.event
        if span is not None:
            found = dict(span.attributes).get("http.response.status_code")
            if isinstance(found, int):
                return found
        return 200 if event is Event.REQUEST else self._rng.choice((500, 502, 503))

    def _millis(self) -> int:
        span, event, rng = self._line.span, self._line.event, self._rng
        if span is not None:
            return (span.end - span.start) // 1000
        if event not in _LEAST:
            return rng.randrange(1, 250)
        answers, place = self._played.flow.answers, self._line.place
        seconds = rng.lognormvariate(float(answers.location[place]), float(answers.spread[place]))
        if seconds < _LEAST[event]:
            seconds += _LEAST[event]
        return round(1000 * seconds)

    def _seconds(self) -> float:
        skew = float(self._played.flow.node_skew[self._line.node])
        return round(skew if skew > WRONG_CLOCK else self._rng.uniform(2.0, 20.0), 1)

    def _ratio(self) -> float:
        flow, line = self._played.flow, self._line
        if line.event is Event.MEMORY:
            return float(flow.memory[line.place])
        if line.event is Event.DISK:
            return float(flow.disk[line.place])
        if line.call is not None:
            return float(flow.answers.call_failures[line.call])
        return self._rng.random()

    def _number(self) -> int:
        flow, line = self._played.flow, self._line
        if line.event in {Event.BEHIND, Event.OVERLOADED}:
            backlog = float(self._played.state.backlog[line.place])
            return round(max(backlog, float(flow.waiting[line.place])))
        if line.event is Event.RETRY:
            return 2 if self._rng.random() < 0.8 else 3
        if line.event is Event.POOL:
            return max(1, round(float(flow.pool[line.place])))
        return self._rng.randrange(1, 5_000)
