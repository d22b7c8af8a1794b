"""Structured logs of a simulation: what its services would have written in the last tick.

How often each template comes up follows from the physics (`occasions`); the lines are drawn from
that with dice of their own, thrown anew at each tick: what a tick's lines are does not depend on
whether those of earlier ticks were asked for. There are far more lines than anybody wants: at most
so many are kept of each tick, and each says for how many it stands. Lines about sampled requests
carry their trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from dos.kit.clock import MINUTE, SECOND
from dos.model.telemetry import BoolArray, Float64Array
from dos.simulate import occasions
from dos.simulate.engine import Played, Simulation
from dos.simulate.fleet import Fleet
from dos.simulate.log_templates import TEMPLATES, Event, Severity, runtime_of
from dos.simulate.log_words import Line, Words
from dos.simulate.pods import Pod
from dos.simulate.semantics import Attributes, SpanKind, served
from dos.simulate.symptoms import Symptom, Symptoms
from dos.simulate.traces import Span
from dos.simulate.walks import BREAKER, TIMEOUT

NEW_CODE = 15 * MINUTE
"""For so long what fails in a new version is put down to it."""
BREAKER_OPEN = 0.05
"""Ratio of calls held back from which on a breaker is said to be open."""
INFO_SHARE = 0.4
"""Of the lines kept of a tick, for those of no concern where there are too many of both kinds."""
_MICROS = 1_000_000 // SECOND
_HARDLY = 1e-6
"""Lines of a tick that are not worth drawing."""
_OF_ERROR: dict[str, Event] = {
    Symptom.OVERLOADED: Event.OVERLOADED,
    Symptom.RESET: Event.RESET,
    Symptom.DISK_FULL: Event.DISK_FULL,
    Symptom.CLOCK: Event.EXPIRED,
}
"""What a service writes about a request that it failed."""
_OF_CALL: dict[str, Event] = {
    TIMEOUT: Event.TIMEOUT,
    BREAKER: Event.BREAKER,
    **{obstacle.value: event for obstacle, event in occasions.OBSTACLES.items()},
}
"""What a caller writes about a call that failed; of others that it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line. Times are microseconds since the epoch by its host's clock."""

    time: int
    node: int
    """Place of the machine that it was written on."""
    pod: Pod | None
    """None where the machine itself wrote it."""
    severity: Severity
    body: str
    template: str
    """Id of what the body was made of: the truth for log parsers."""
    attributes: Attributes = ()
    weight: float = 1.0
    """How many lines it stands for."""
    trace: int | None = None
    span: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Something to write of: by a service, about one of its calls where `call` is not None."""

    event: Event
    place: int
    call: int | None = None


class LogWriter:
    """Writes the logs of each tick.

    Args:
        simulation: Gives the ticks.
        fleet: Its pods; whoever calls `write` has it follow first.
        seed: Of the dice of lines.
        most: Lines kept of a tick, beside those about single events and sampled requests.
    """

    def __init__(
        self, simulation: Simulation, fleet: Fleet, *, seed: int = 0, most: int = 200
    ) -> None:
        self._simulation, self._fleet, self._most = simulation, fleet, most
        self._seed = seed
        self._throw()
        physics = simulation.physics
        self._calls = {
            (int(physics.caller[at]), physics.services[int(physics.callee[at])].name): at
            for at in range(len(physics.calls))
        }
        self._runtimes = [runtime_of(service) for service in physics.services]
        self._methods = [served(physics, at).name.split()[0] for at in range(len(physics.services))]
        self._open: BoolArray = np.zeros(len(physics.calls), np.bool_)
        self._known = {pod.uid: pod for pod in fleet}
        self._started = {pod.uid: (pod.started, pod.restarts) for pod in fleet}
        self._told: dict[int, int] = {}

    def write(self, spans: Sequence[Span] = ()) -> list[Record]:
        """The lines of the last tick, oldest first.

        Args:
            spans: Those that ended in it, for lines that carry a trace.
        """
        played = self._simulation.last
        if played is None:
            return []
        self._throw()
        new_code = self._new_code()
        records = [
            *self._of_platform(played),
            *self._of_breakers(played),
            *self._of_spans(played, spans, new_code),
            *self._of_all(played, new_code),
        ]
        return sorted(records, key=lambda record: record.time)

    def pass_over(self) -> None:
        """The last tick goes by without its lines; the next ones are none the wiser."""
        played = self._simulation.last
        if played is not None:  # who came and went, and which breakers are open, is remembered
            deque(self._of_platform(played), maxlen=0)
            deque(self._of_breakers(played), maxlen=0)

    def _throw(self) -> None:
        now = self._simulation.now
        self._rng = Random(f"logs/{self._seed}/{now}")  # noqa: S311  a simulation, not a secret
        self._draws = np.random.default_rng([self._seed, 3, now])

    def _of_all(self, played: Played, new_code: BoolArray) -> Iterator[Record]:
        """Lines drawn at the rates of the physics."""
        entries, expected = self._expected(played, new_code)
        concern = np.array([self._concern(entry) for entry in entries], np.bool_)
        keep = np.ones(len(entries))
        calm, alarmed = float(expected[~concern].sum()), float(expected[concern].sum())
        room = min(calm, max(INFO_SHARE * self._most, self._most - alarmed))
        if calm > room:
            keep[~concern] = room / calm
        if alarmed > self._most - room:
            keep[concern] = (self._most - room) / alarmed
        drawn = self._draws.poisson(expected * keep)
        for at in np.flatnonzero(drawn).tolist():
            for _ in range(int(drawn[at])):
                yield from self._line(played, entries[at], weight=1.0 / float(keep[at]))

    def _expected(self, played: Played, new_code: BoolArray) -> tuple[list[_Entry], Float64Array]:
        """What there is to write, and how many lines of each in the tick."""
        physics, step = self._simulation.physics, self._simulation.step_seconds
        symptoms = Symptoms(self._simulation, played)
        entries: list[_Entry] = []
        expected: list[float] = []
        for event, rate in occasions.of_services(physics, played, symptoms, new_code).items():
            for place in np.flatnonzero(rate * step > _HARDLY).tolist():
                entries.append(_Entry(event=event, place=place))
                expected.append(float(rate[place]) * step)
        for event, rate in occasions.of_calls(physics, played, symptoms).items():
            for call in np.flatnonzero(rate * step > _HARDLY).tolist():
                caller = int(physics.caller[call])
                entries.append(_Entry(event=event, place=caller, call=call))
                expected.append(float(rate[call]) * step)
        return entries, np.array(expected)

    def _new_code(self) -> BoolArray:
        """`[service]` whether some pod of it runs a version that has just come out."""
        since = self._fleet.now - NEW_CODE
        return np.array(
            [
                any(pod.created > since and pod.version != one.service.version for pod in one.pods)
                for one in self._fleet.workloads
            ],
            np.bool_,
        )

    def _concern(self, entry: _Entry) -> bool:
        templates = TEMPLATES[self._runtimes[entry.place], entry.event]
        return bool(templates) and templates[0].severity > Severity.INFO

    def _of_spans(
        self, played: Played, spans: Sequence[Span], new_code: BoolArray
    ) -> Iterator[Record]:
        """A line for each sampled request, and for each sampled call that failed."""
        for span in spans:
            place = span.pod.service
            if span.kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
                event = _OF_ERROR.get(span.error, Event.REQUEST)
                if span.error == Symptom.INTERNAL:
                    broken = played.flow.effects.errors[place] > 0
                    event = Event.NO_CONNECTION if broken else Event.INTERNAL
                    event = Event.NEW_CODE if broken and new_code[place] else event
                entry = _Entry(event=event, place=place)
            elif span.error:
                event = _OF_CALL.get(span.error, Event.FAILED)
                called = str(dict(span.attributes).get("server.address", ""))
                entry = _Entry(event=event, place=place, call=self._calls.get((place, called)))
            else:
                continue
            yield from self._line(played, entry, pod=span.pod, span=span)

    def _of_breakers(self, played: Played) -> Iterator[Record]:
        """Breakers that opened or closed, each seen by every replica of the caller."""
        now_open = played.flow.calling.held_back > BREAKER_OPEN
        caller = self._simulation.physics.caller
        for call in np.flatnonzero(now_open != self._open).tolist():
            event = Event.BREAKER_OPENED if now_open[call] else Event.BREAKER_CLOSED
            for pod in self._fleet.of(int(caller[call])):
                entry = _Entry(event=event, place=pod.service, call=call)
                yield from self._line(played, entry, pod=pod)
        self._open = now_open

    def _of_platform(self, played: Played) -> Iterator[Record]:
        """Pods that came, went or were killed, and machines whose clock is wrong."""
        pods = {pod.uid: pod for pod in self._fleet}
        for uid, pod in self._known.items():
            if uid not in pods and self._fleet.node_up[pod.node]:
                entry = _Entry(event=Event.STOPPED, place=pod.service)
                yield from self._line(played, entry, pod=pod)
        started = {uid: (pod.started, pod.restarts) for uid, pod in pods.items()}
        for uid, pod in pods.items():
            before, kills = self._started.get(uid, (None, 0))
            if kills < pod.restarts:
                entry = _Entry(event=Event.OUT_OF_MEMORY, place=pod.service)
                yield from self._line(played, entry, pod=pod)
                entry = _Entry(event=Event.KERNEL_OOM, place=pod.service)
                yield from self._line(played, entry, node=pod.node)
            if before != pod.started:
                entry = _Entry(event=Event.STARTED, place=pod.service)
                yield from self._line(played, entry, pod=pod)
        self._known, self._started = pods, started
        minute = self._simulation.now // MINUTE
        for node in np.flatnonzero(played.flow.node_skew > occasions.WRONG_CLOCK).tolist():
            if self._told.get(node) != minute:
                self._told[node] = minute
                entry = _Entry(event=Event.CLOCK_STEPPED, place=0)
                yield from self._line(played, entry, node=node)

    def _line(
        self,
        played: Played,
        entry: _Entry,
        *,
        weight: float = 1.0,
        pod: Pod | None = None,
        node: int | None = None,
        span: Span | None = None,
    ) -> Iterator[Record]:
        """A line, or none where nobody has words for it.

        Args:
            played: The tick.
            entry: What it is about.
            weight: How many lines it stands for.
            pod: Who writes it; somebody of the service, if neither this nor `node` is given.
            node: The machine, where that writes it.
            span: The request that it is about.
        """
        templates = TEMPLATES[self._runtimes[entry.place], entry.event]
        if not templates:
            return
        rng = self._rng
        template = rng.choice(templates)
        if node is None:
            pod = pod or self._writer(played, entry)
            node = pod.node
        line = Line(
            event=entry.event,
            place=entry.place,
            method=self._methods[entry.place],
            node=node,
            call=entry.call,
            pod=pod,
            span=span,
        )
        words = Words(self._simulation.physics, played, line, rng)
        ago = rng.random() * self._simulation.step_seconds * SECOND
        written = self._simulation.now - ago + float(played.flow.node_skew[node]) * SECOND
        yield Record(
            time=round(written * _MICROS) if span is None else span.end,
            node=node,
            pod=pod,
            severity=template.severity,
            body=template.text.format_map(words),
            template=template.id,
            attributes=words.attributes(),
            weight=weight,
            trace=None if span is None else span.trace,
            span=None if span is None else span.span,
        )

    def _writer(self, played: Played, entry: _Entry) -> Pod:
        pods = self._fleet.serving(entry.place)
        if entry.event in {Event.EXPIRED, Event.CLOCK}:
            skew = played.flow.node_skew
            pods = [pod for pod in pods if skew[pod.node] > occasions.WRONG_CLOCK] or pods
        return self._rng.choice(pods)
