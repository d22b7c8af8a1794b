"""What goes wrong in a demonstration, and when: a seeded timeline of the classic incidents."""

from __future__ import annotations

from random import Random

from dos.simulate.faults import FaultType
from dos.simulate.scenario import SKETCH, ScheduledFault, eligible
from dos.simulate.world import World

FIRST = 12.0
"""Seconds until the first fault: soon, because somebody is watching."""
GAP = 40.0
"""Seconds between the end of a fault and the next, so that the incident before is resolved."""
_LEAK_GAP = 80.0
"""The same after a memory leak, whose service has to be restarted and to warm up."""
_LENGTHS = {FaultType.MEMORY_LEAK: (60, 90)}
"""Seconds a fault lasts, at least and at most: memory fills slowly, the others show at once."""
_LENGTH = (28, 40)
_SHORTEST = 20.0
_TAIL = 10.0
"""Seconds between the end of the last fault and the end of the demonstration."""
_ENDLESS = 24 * 3600.0


def plan(world: World, seed: int, duration: float | None) -> list[ScheduledFault]:
    """Faults one after the other that all end before `duration` is over.

    The kinds come in a shuffled order, each once before any comes again; near the end, a kind
    that needs longer than there is time is passed over.
    """
    rng = Random(f"demo/{seed}")  # noqa: S311  a simulation, not a secret
    end = (duration if duration is not None else _ENDLESS) - _TAIL
    at, faults = FIRST, list[ScheduledFault]()
    kinds: list[FaultType] = []
    while end - at >= _SHORTEST:
        if not kinds:
            kinds = list(SKETCH)
            rng.shuffle(kinds)
        kind = kinds.pop()
        if kind in _LENGTHS and end - at < _LENGTHS[kind][0]:
            continue
        length = min(float(rng.randint(*_LENGTHS.get(kind, _LENGTH))), end - at)
        faults.append(
            ScheduledFault(
                at=at,
                fault=kind,
                target=rng.choice(eligible(world, kind)),
                duration=length,
                severity=round(rng.uniform(0.75, 0.95), 2),
                ramp=5.0,
                recovery=5.0,
            )
        )
        at += length + (_LEAK_GAP if kind is FaultType.MEMORY_LEAK else GAP)
    return faults
