"""A small language for timelines: what breaks when, and what DOS must make of it.

    story(world="shop", seed=3)
        .at(120).fault("payment-service", "network_latency", duration=90)
        .run()
        .expect(between(120, 180), incident(root="payment-service"))

The story plays on virtual time through the whole application: simulator, sentinel, pipeline,
dispatcher, and a receiver that keeps what it is told. Times are seconds since the start of live
samples, after a warm-up of healthy past.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.app.wiring import NamedSource
from dos.kit.clock import SECOND, ManualClock, Millis, to_rfc3339
from dos.model.alert import AlertState, Notification
from dos.model.events import AnomalyStarted, Decisions, IncidentChanged
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.simulate.engine import Truth
from dos.simulate.source import SimulatorSource

START = Millis(1_767_623_400_000)
"""2026-01-05T14:30:00Z."""
RECEIVERS = ("pager", "chat")


@dataclass(frozen=True)
class Between:
    """A stretch of the story in seconds, both ends included."""

    start: float
    end: float

    def __contains__(self, at: object) -> bool:
        return isinstance(at, int) and self.start <= seconds(at) <= self.end

    def __str__(self) -> str:
        return f"between {self.start:g} s and {self.end:g} s"


def between(start: float, end: float) -> Between:
    return Between(start, end)


def seconds(at: int) -> float:
    """Seconds of the story at a time."""
    return (at - START) / SECOND


Check = Callable[["Played", Between], str | None]
"""Looks for something in a stretch of a story; answers with what is wrong, if anything."""


@dataclass
class _Receiver:
    """Keeps what it is told."""

    told: list[Notification] = field(default_factory=list)

    async def send(self, notification: Notification) -> None:
        self.told.append(notification)

    async def close(self) -> None:
        """Nothing to release."""


@dataclass
class Played:
    """What came of a story."""

    decisions: list[Decisions]
    told: dict[str, list[Notification]]
    truths: Sequence[Truth]

    @property
    def incidents(self) -> list[Incident]:
        """Every incident as of its last change, in order of opening."""
        latest = {one.id: one for one in self.changes}
        return list(latest.values())

    @property
    def changes(self) -> list[Incident]:
        events = [one.event for step in self.decisions for one in step.events]
        return [event.incident for event in events if isinstance(event, IncidentChanged)]

    @property
    def opened(self) -> list[Incident]:
        """Those that are not parts of another, as of their last change."""
        return [one for one in self.incidents if one.reason is not IncidentReason.MERGED]

    @property
    def anomalies(self) -> int:
        events = [one.event for step in self.decisions for one in step.events]
        return sum(isinstance(event, AnomalyStarted) for event in events)

    @property
    def lines(self) -> list[bytes]:
        return [one.to_json() for step in self.decisions for one in step.events]

    def expect(self, when: Between, *checks: Check) -> Played:
        for check in checks:
            wrong = check(self, when)
            assert wrong is None, f"{when}: {wrong}; the story was {self.tell()}"
        return self

    def tell(self) -> str:
        """The story in a few words, for who has to find out why a test failed."""
        parts = []
        for one in self.incidents:
            top = one.root_cause.top if one.root_cause else None
            ended = "open" if one.resolved_at is None else f"{seconds(one.resolved_at):g} s"
            root = f"{top.entity} ({top.probability:.2f})" if top else "unknown"
            parts.append(
                f"[{seconds(one.opened_at):g} s – {ended}: {one.reason.value}, root {root}, "
                f"entities {', '.join(one.entities)}]"
            )
        return " ".join(parts) or "uneventful"


def incident(
    *, root: str | None = None, among: Sequence[str] = (), involves: str | None = None
) -> Check:
    """Exactly one incident was opened in that stretch.

    Args:
        root: Named as its cause in the end.
        among: The cause named in the end is one of these.
        involves: Was abnormal in it.
    """

    def check(played: Played, when: Between) -> str | None:
        found = [one for one in played.opened if one.opened_at in when]
        if len(found) != 1:
            return f"{len(found)} incidents were opened"
        cause = found[0].root_cause
        named = cause.top.entity if cause and cause.top else None
        if root is not None and named != root:
            return f"the root is {named}, not {root}"
        if among and named not in among:
            return f"the root is {named}, not one of {', '.join(among)}"
        if involves is not None and involves not in found[0].entities:
            return f"{involves} is no part of it"
        return None

    return check


def recovery() -> Check:
    """Nothing is open at the end, and the last incident was resolved in that stretch."""

    def check(played: Played, when: Between) -> str | None:
        if any(one.state is IncidentState.OPEN for one in played.incidents):
            return "an incident is still open"
        last = max((one.resolved_at or 0 for one in played.incidents), default=0)
        return None if last in when else f"the last one was resolved at {seconds(last):g} s"

    return check


def nothing() -> Check:
    """No incident was opened, and nobody was told of one."""

    def check(played: Played, when: Between) -> str | None:
        if found := [one for one in played.incidents if one.opened_at in when]:
            return f"{len(found)} incidents were opened"
        told = [one for rows in played.told.values() for one in rows if one.created_at in when]
        return f"{len(told)} notifications were sent" if told else None

    return check


def told_once() -> Check:
    """Every receiver heard of each incident of that stretch, and once that it was over."""

    def check(played: Played, when: Between) -> str | None:
        for one in (one for one in played.opened if one.opened_at in when):
            for name, told in played.told.items():
                mine = [row.alert for row in told if row.alert.incident_id == one.id]
                states = [alert.state for alert in mine]
                fired = [a for a in mine if "update" not in dict(a.annotations)]
                if [alert.state for alert in fired] != [AlertState.FIRING, AlertState.RESOLVED]:
                    return f"{name} was told {[state.value for state in states]}"
                if states[-1] is not AlertState.RESOLVED:
                    return f"{name} was told more after the end"
        return None

    return check


class Story:
    """What breaks when; see the module's text."""

    def __init__(self, **source: Any) -> None:
        self._at = 0.0
        self._faults: list[dict[str, Any]] = []
        self._sources = [{**source, "scenario": self._faults}]

    def beside(self, *, world: str, **source: Any) -> Story:
        """A second system that has nothing to do with the first; faults from here on hit it."""
        self._faults = []
        self._sources.append({"world": world, **source, "scenario": self._faults})
        return self

    def at(self, when: float) -> Story:
        """The next fault begins `when` seconds into the story."""
        self._at = when
        return self

    def fault(self, target: str, kind: str, *, duration: float, severity: float = 0.85) -> Story:
        fault = {"at": self._at, "target": target, "fault": kind, "duration": duration}
        self._faults.append({**fault, "severity": severity, "ramp": 5.0, "recovery": 5.0})
        return self

    def run(self, until: float) -> Played:
        """Play until `until` seconds."""
        return asyncio.run(self._play(until))

    async def _play(self, until: float) -> Played:
        clock = ManualClock(START)
        receivers = {name: _Receiver() for name in RECEIVERS}
        sentinel = Sentinel(self._settings(), clock, offload=False, extra_receivers=receivers)
        decisions: list[Decisions] = []
        sentinel.runner.listeners.append(decisions.append)
        await sentinel.open()
        sentinel.start(live=False)
        try:
            end = Millis(START + round(until * SECOND))
            timelines = [
                [(at, one.name, delivery) for at, delivery in simulator(one).deliveries(end)]
                for one in sentinel.sources
            ]
            for at, name, delivery in heapq.merge(*timelines, key=lambda item: item[0]):
                await play(sentinel, clock, name, [(at, delivery)])
            await sentinel.settle(10.0)
        finally:
            await sentinel.close()
        told = {name: one.told for name, one in receivers.items()}
        truths = [truth for one in sentinel.sources for truth in simulator(one).simulation.truths]
        return Played(decisions, told, truths)

    def _settings(self) -> Settings:
        step = self._sources[0].get("step", 5.0)
        usual = {"type": "simulator", "history": 1800.0, "step": step, "start": to_rfc3339(START)}
        sources = [
            {"name": f"system-{number}", **usual, **one, "scenario": one["scenario"] or None}
            for number, one in enumerate(self._sources, start=1)
        ]
        return Settings.model_validate(
            {
                "storage": {"url": "memory://"},
                "sources": sources,
                "incidents": {"resolve_after": 20.0, "alone_after": 30.0},
                "alerting": {"group_wait": 10.0, "receivers": []},
                "history": {"resolution": step, "retention": 7200.0},
            }
        )


def simulator(named: NamedSource) -> SimulatorSource:
    assert isinstance(named.source, SimulatorSource)
    return named.source


def story(*, world: str = "shop", seed: int = 1, **source: Any) -> Story:
    """Begin a story in a built-in world of the simulator; `source`: further keys of it."""
    return Story(world=world, seed=seed, **source)
