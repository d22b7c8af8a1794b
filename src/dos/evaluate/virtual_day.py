"""A day of a simulated system through the whole pipeline, and a digest of all decisions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.virtual import play
from dos.kit.clock import HOUR, ManualClock, Millis, to_rfc3339
from dos.model.events import Decisions, IncidentChanged
from dos.model.incident import IncidentReason
from dos.simulate.source import SimulatorSource

START = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z, a Monday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What to play."""

    services: int = 50
    hours: float = 24.0
    step: float = 15.0
    seed: int = 1
    incidents: bool = True
    world: str = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """What came of it."""

    samples: int
    faults: int
    incidents: int
    """Opened."""
    events: int
    digest: str
    """SHA-256 over the canonical JSON of every decision, in order."""


async def run_day(day: Day) -> DayResult:
    """Play `day` on virtual time, keeping nothing on disk."""
    settings = Settings.model_validate(
        {
            "storage": {"url": "memory://"},
            "history": {"resolution": day.step, "retention": 7200.0},
            "sources": [
                {
                    "type": "simulator",
                    "world": day.world,
                    "services": day.services,
                    "seed": day.seed,
                    "step": day.step,
                    "start": to_rfc3339(START),
                    "incidents": "random" if day.incidents else "none",
                    "chance": 0.02,
                    "quiet": 1800.0,
                }
            ],
            "alerting": {"receivers": []},
        }
    )
    clock = ManualClock(START)
    digest, opened, events = hashlib.sha256(), 0, 0

    def follow(decisions: Decisions) -> None:
        nonlocal opened, events
        for one in decisions.events:
            digest.update(one.to_json() + b"\n")
            events += 1
            if isinstance(one.event, IncidentChanged):
                opened += one.event.incident.reason is IncidentReason.CORROBORATED

    sentinel = Sentinel(settings, clock, offload=False)
    sentinel.runner.listeners.append(follow)
    await sentinel.open()
    sentinel.start(live=False)
    try:
        named = sentinel.sources[0]
        if not isinstance(named.source, SimulatorSource):
            msg = "a virtual day is played by the simulator"
            raise TypeError(msg)
        until = Millis(START + round(day.hours * HOUR))
        await play(sentinel, clock, named.name, named.source.deliveries(until))
        faults = len(named.source.simulation.truths)
    finally:
        await sentinel.close()
    return DayResult(
        samples=sentinel.runner.progress.samples,
        faults=faults,
        incidents=opened,
        events=events,
        digest=digest.hexdigest(),
    )
