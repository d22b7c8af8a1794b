"""A simulated shop with faults, played into whatever a test wants to look at.

The input is made once per process: `intakes()` normalises what the simulator delivers and keeps
it, so that a test only pays for the pipeline it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.pipeline import Pipeline
from dos.app.settings import Settings
from dos.bus.base import Entry
from dos.bus.memory import MemoryLog
from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser
from dos.kit.clock import SECOND, ManualClock, Millis, to_rfc3339
from dos.model.events import Decisions, IncidentChanged
from dos.model.incident import Incident
from dos.model.registry import SeriesRegistry
from dos.simulate.source import Config, SimulatorSource

START = Millis(1_767_623_400_000)
"""2026-01-05T14:30:00Z."""
STEP = 5.0
HISTORY = 1500.0
LENGTH = 480
"""Seconds of live samples."""
RECEIVERS = (Receiver(name="pager"), Receiver(name="chat"))
FAULTS: tuple[dict[str, Any], ...] = (
    {
        "at": 30,
        "fault": "network_latency",
        "target": "payment-service",
        "duration": 60,
        "severity": 0.9,
        "ramp": 5,
        "recovery": 5,
    },
    {
        "at": 200,
        "fault": "error_rate",
        "target": "catalog-db",
        "duration": 80,
        "severity": 0.9,
        "ramp": 5,
        "recovery": 5,
    },
)


def source_keys(**also: object) -> dict[str, Any]:
    """Keys of a simulator as a source of the configuration."""
    keys = {
        "world": "shop",
        "seed": 12,
        "step": STEP,
        "history": HISTORY,
        "start": to_rfc3339(START),
        "scenario": list(FAULTS),
    }
    return {**keys, **also}


def settings(**sections: object) -> Settings:
    """A configuration that leaves nothing behind, with quick incidents."""
    raw: dict[str, object] = {
        "storage": {"url": wiring.IN_MEMORY},
        "sources": [{"type": "simulator", **source_keys()}],
        "incidents": {"resolve_after": 15.0, "alone_after": 30.0},
        "alerting": {"group_wait": 10.0, "receivers": []},
        "history": {"resolution": STEP, "retention": 3600.0},
    }
    return Settings.model_validate({**raw, **sections})


def simulator(**also: object) -> SimulatorSource:
    clock = ManualClock(START)
    config = Config.model_validate(source_keys(**also))
    return SimulatorSource(config, name="simulator", clock=clock, rng=Random(0))


def deliveries(seconds: float = LENGTH, **also: object) -> Iterator[tuple[Millis, Delivery]]:
    return simulator(**also).deliveries(Millis(START + round(seconds * SECOND)))


@lru_cache(maxsize=1)
def played() -> tuple[tuple[Millis, Delivery], ...]:
    """The standard run, as delivered."""
    return tuple(deliveries())


@lru_cache(maxsize=1)
def intakes() -> tuple[Entry, ...]:
    """The standard run, as the pipeline takes it in."""
    return normalised(played())


def normalised(delivered: Iterable[tuple[Millis, Delivery]]) -> tuple[Entry, ...]:
    log, normaliser = MemoryLog(), Normaliser(SeriesRegistry())
    for at, delivery in delivered:
        log.append(normaliser.take(at, "simulator", delivery))
    return tuple(log.read())


def pipeline(directory: Path | None = None) -> Pipeline:
    """A pipeline without a past; its samples lie in `directory`, if one is given."""
    chosen = settings()
    history = wiring.open_history(chosen, directory)
    return wiring.build_pipeline(chosen, history, RECEIVERS)


def run(one: Pipeline, entries: Iterable[Entry]) -> list[Decisions]:
    return [one.step(entry.intake, entry.offset) for entry in entries]


def lines(decisions: Iterable[Decisions]) -> list[bytes]:
    """All decisions as canonical JSON."""
    return [one.to_json() for step in decisions for one in step.events]


def incidents_of(decisions: Iterable[Decisions]) -> Sequence[Incident]:
    """Every incident as of its last change, in order of first sight."""
    latest = {}
    for step in decisions:
        for one in step.events:
            if isinstance(one.event, IncidentChanged):
                latest[one.event.incident.id] = one.event.incident
    return list(latest.values())


@lru_cache(maxsize=1)
def uninterrupted() -> tuple[Decisions, ...]:
    """The decisions of the standard run."""
    return tuple(run(pipeline(), intakes()))
