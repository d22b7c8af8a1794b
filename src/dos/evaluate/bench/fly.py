"""One flight: a simulation through the real sentinel on virtual time, the baselines beside it.

    simulator ──deliveries──▶ baselines ──▶ sentinel (memory only) ──decisions──▶ follower

The baselines look at each delivery on its way into the pipeline, so that all contenders see the
same samples. The truth is read from the simulator when the flight is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.evaluate.bench.baseline import WATCHERS, Watcher
from dos.evaluate.bench.flight import Flight, parse_world
from dos.evaluate.bench.judge import Told, events, judge
from dos.evaluate.bench.outcome import Actions, Contender, FlightResult, Raised, Ranking
from dos.evaluate.bench.timetable import Timetable, timetable
from dos.ingest.base import Delivery
from dos.kit.clock import SECOND, ManualClock, Millis, to_rfc3339
from dos.kit.errors import PermanentError
from dos.model.alert import Alert, AlertState, Notification
from dos.model.events import Decisions, IncidentChanged, NotificationQueued
from dos.model.ids import AlertId, IncidentId
from dos.model.impact import Severity
from dos.model.incident import Incident
from dos.model.rootcause import RootCause
from dos.simulate.engine import Simulation
from dos.simulate.source import SimulatorSource

PAGER = "pager"
PAGING = frozenset({Severity.SEV1, Severity.SEV2})
"""Severities that get somebody out of bed; the others can wait for the morning."""


class FlightStoppedError(PermanentError):
    """The flight was told to end early, and says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What a flight has to do with the world outside."""

    stopped: Callable[[], bool] = lambda: False
    """Whether it is to end early."""
    advanced: Callable[[float], None] = lambda _: None
    """Called with simulated seconds times services, as they are done."""


def fly(flight: Flight, control: Control) -> FlightResult:
    """Fly `flight` in this process.

    Raises:
        FlightStoppedError: `control` said so.
    """
    return asyncio.run(_fly(flight, control))


async def _fly(flight: Flight, control: Control) -> FlightResult:
    table = timetable(flight)
    clock, follower = ManualClock(table.start), _Follower()
    watchers = [Watcher(one, build(flight.step)) for one, build in WATCHERS.items()]
    sentinel = Sentinel(
        settings_of(flight, table), clock, offload=False, extra_receivers={PAGER: _Pager()}
    )
    sentinel.runner.listeners.append(follower.follow)
    await sentinel.open()
    sentinel.start(live=False)
    try:
        named = sentinel.sources[0]
        if not isinstance(named.source, SimulatorSource):
            msg = "a flight is flown by the simulator"
            raise TypeError(msg)
        source, until = named.source, Millis(table.start + round(table.length * SECOND))
        services = len(source.simulation.world.services)

        def tapped() -> Iterator[tuple[Millis, Delivery]]:
            before = table.start
            for at, delivery in source.deliveries(until):
                if control.stopped():
                    msg = "The flight was stopped."
                    raise FlightStoppedError(msg)
                for watcher in watchers:
                    watcher.take(delivery)
                yield at, delivery
                control.advanced((at - before) / SECOND * services)
                before = at

        await play(sentinel, clock, named.name, tapped())
    finally:
        await sentinel.close()
    told = {Contender.PIPELINE: follower.told()}
    told |= {watcher.contender: watcher.told() for watcher in watchers}
    simulation = source.simulation
    faults, harmless = events(simulation.truths, table.start)
    return FlightResult(
        flight=flight,
        services=services,
        seconds=(clock.now() - table.start) / SECOND,
        samples=sentinel.runner.progress.samples,
        faults=faults,
        harmless=harmless,
        records={one: judge(simulation.truths, what, table.start) for one, what in told.items()},
        actions=_actions(simulation),
    )


def settings_of(flight: Flight, table: Timetable) -> Settings:
    """What a user gets who changes nothing, kept in memory; only the source is the simulator."""
    world = parse_world(flight.world)
    return Settings.model_validate(
        {
            "storage": {"url": "memory://"},
            "history": {"resolution": flight.step, "retention": max(7200.0, 120 * flight.step)},
            "sources": [
                {
                    "type": "simulator",
                    "world": world.name,
                    "services": world.services,
                    "seed": flight.seed,
                    "step": flight.step,
                    "history": flight.history,
                    "start": to_rfc3339(table.start),
                    "scenario": [one.model_dump() for one in table.faults] or None,
                }
            ],
            "incidents": {"page_budget": flight.page_budget},
            "alerting": {"receivers": []},
        }
    )


class _Pager:
    """Takes notifications, so that there is somebody to be told."""

    async def send(self, notification: Notification) -> None:
        """Nothing to do: what was decided is counted, and every delivery works."""

    async def close(self) -> None:
        """Nothing to release."""


@dataclass(slots=True)
class _Seen:
    """An incident from its opening to its last change."""

    opened: Incident
    last: Incident


class _Follower:
    """Keeps what the pipeline decided about incidents and who was to be told."""

    def __init__(self) -> None:
        self._incidents: dict[IncidentId, _Seen] = {}
        self._fired: dict[AlertId, Alert] = {}
        """Alerts of which somebody was told, as of the worst notification."""

    def follow(self, decisions: Decisions) -> None:
        """Take in the decisions of one step."""
        for one in decisions.events:
            if isinstance(one.event, IncidentChanged):
                incident = one.event.incident
                known = self._incidents.setdefault(incident.id, _Seen(incident, incident))
                known.last = incident
            elif isinstance(one.event, NotificationQueued):
                alert = one.event.notification.alert
                if alert.state is AlertState.FIRING:
                    worst = self._fired.get(alert.id, alert)
                    self._fired[alert.id] = min(worst, alert, key=lambda one: one.severity)

    def told(self) -> Told:
        """Every incident, also one that became part of another later: people were told of it."""
        paged = {one.incident_id for one in self._fired.values() if one.severity in PAGING}
        raised = [
            Raised(
                id=seen.opened.id,
                opened_at=seen.opened.opened_at,
                resolved_at=self._resolved_at(seen.last),
                entities=seen.last.entities,
                told=_ranking(seen.opened.root_cause),
                last=_ranking(seen.last.root_cause),
                paged=seen.opened.id in paged,
            )
            for seen in self._incidents.values()
        ]
        return Told(raised=raised, alerts=len(self._fired))

    def _resolved_at(self, incident: Incident) -> Millis | None:
        """What was merged is over when that is over which it became part of."""
        while incident.merged_into is not None:
            incident = self._incidents[incident.merged_into].last
        return incident.resolved_at


def _ranking(cause: RootCause | None) -> Ranking:
    if cause is None:
        return Ranking()
    return Ranking(
        order=tuple((one.entity, one.score) for one in cause.ranked),
        probability=cause.ranked[0].probability if cause.ranked else None,
        unknown=cause.unknown,
        others=cause.others,
    )


def _actions(simulation: Simulation) -> Actions:
    """Remediation actions that were performed on the simulated system."""
    wrong = [one for one in simulation.actions if one.helped is False]
    others = [one for one in simulation.actions if one.helped is not False]
    right = [one for one in others if one.helped or one.cured]
    return Actions(right=len(right), wrong=len(wrong), useless=len(others) - len(right))
