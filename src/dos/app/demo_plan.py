"""What goes wrong in a demonstration, and when: a seeded timeline of all kinds of incident."""

from __future__ import annotations

from random import Random

from dos.simulate.faults import FaultType
from dos.simulate.scenario import ScheduledFault, eligible
from dos.simulate.world import World

FIRST = 12.0
"""Seconds until the first fault: soon, because somebody is watching."""
GAP = 50.0
"""Seconds between the end of a fault and the next, so that the incident before is resolved."""
_ENDLESS = 24 * 3600.0


def plan(world: World, seed: int, duration: float | None) -> list[ScheduledFault]:
    """Faults one after the other that all end, recovery included, before `duration` is over.

    The kinds come in a shuffled order, each once before any comes again.
    """
    rng = Random(f"demo/{seed}")  # noqa: S311  a simulation, not a secret
    end = duration if duration is not None else _ENDLESS
    at, faults = FIRST, list[ScheduledFault]()
    kinds: list[FaultType] = []
    while True:
        if not kinds:
            kinds = list(FaultType)
            rng.shuffle(kinds)
        kind = kinds.pop()
        length = float(
            rng.randint(60, 90) if kind is FaultType.MEMORY_LEAK else rng.randint(40, 60)
        )
        if faults and at + length + GAP > end:
            return faults
        length = min(length, max(10.0, end - at - 10.0))
        target = rng.choice(eligible(world, kind))
        faults.append(
            ScheduledFault(
                at=at,
                fault=kind,
                target=target,
                duration=length,
                severity=round(rng.uniform(0.75, 0.95), 2),
                ramp=5.0,
                recovery=5.0,
            )
        )
        at += length + GAP
