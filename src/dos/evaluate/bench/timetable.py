"""When what breaks in a flight: every type of fault once, in random order, on random targets.

Most faults come alone, with minutes of rest between, so that each is a question of its own; about
one in five meets another one elsewhere. Harmless events come alone, and some beside a fault, where
they are a false trail. A quiet flight has harmless events only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dos.evaluate.bench.flight import Flight, FlightKind, parse_world
from dos.kit.clock import DAY, HOUR, Millis
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.scenario import ScheduledFault, draw, eligible
from dos.simulate.world import World

MONDAY = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z."""
REST = (240.0, 480.0)
"""Seconds between the end of a fault and the next one, at least and at most."""
PAIRED = 0.2
"""Chance that a fault is joined by another."""
DECOY = 0.5
"""Chance of each harmless type to occur beside a fault, and not only alone."""
HARMLESS_EVERY = (2 * 3_600.0, 10 * 3_600.0)
"""Seconds between two harmless events of a quiet flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """What happens in a flight."""

    start: Millis
    """Time before the first live sample."""
    length: float
    """Seconds from there to the end."""
    faults: tuple[ScheduledFault, ...]
    """In order; relative to `start`."""


def timetable(flight: Flight) -> Timetable:
    """Draw the timetable of `flight`; the same flight has always the same one."""
    rng = Random(f"bench/{flight.kind}/{flight.world}/{flight.seed}")  # noqa: S311  a simulation
    world = parse_world(flight.world).build(flight.seed)
    if flight.kind is FlightKind.QUIET:
        faults = tuple(_harmless_only(world, flight.quiet, rng))
        return Timetable(start=MONDAY, length=flight.quiet, faults=faults)
    hour = rng.randrange(7 * DAY // HOUR)
    faults = tuple(sorted(_busy(world, rng), key=lambda one: one.at))
    end = max(_end(one) for one in faults)
    return Timetable(start=Millis(MONDAY + hour * HOUR), length=end + flight.quiet, faults=faults)


def _busy(world: World, rng: Random) -> Iterator[ScheduledFault]:
    """Every type that fits into `world`, one after the other."""
    kinds = [kind for kind in FaultType if eligible(world, kind)]
    decoys = [kind for kind in kinds if KINDS[kind].harmless and rng.random() < DECOY]
    rng.shuffle(kinds)
    at = rng.uniform(*REST)
    while kinds:
        first = _some(world, kinds.pop(), rng)
        yield _scheduled(at, first)
        end = at + first.duration + first.recovery
        also: FaultType | None = None
        if not KINDS[first.type].harmless and decoys and rng.random() < DECOY:
            also = decoys.pop()
        elif not KINDS[first.type].harmless and rng.random() < PAIRED:
            also = next((kind for kind in reversed(kinds) if not KINDS[kind].harmless), None)
            if also is not None:
                kinds.remove(also)
        if also is not None:
            second = _some(world, also, rng, other_than=first.target)
            later = at + rng.uniform(0.0, 0.6) * first.duration
            yield _scheduled(later, second)
            end = max(end, later + second.duration + second.recovery)
        at = end + rng.uniform(*REST)


def _harmless_only(world: World, length: float, rng: Random) -> Iterator[ScheduledFault]:
    kinds = [kind for kind in FaultType if KINDS[kind].harmless and eligible(world, kind)]
    at = rng.uniform(*HARMLESS_EVERY)
    while kinds and at < length:
        fault = _some(world, rng.choice(kinds), rng)
        yield _scheduled(at, fault)
        at += fault.duration + fault.recovery + rng.uniform(*HARMLESS_EVERY)


def _some(world: World, kind: FaultType, rng: Random, other_than: str | None = None) -> Fault:
    targets = [one for one in eligible(world, kind) if one != other_than]
    return draw(rng, kind, rng.choice(targets or eligible(world, kind)))


def _end(one: ScheduledFault) -> float:
    fault = one.build()
    return one.at + fault.duration + fault.recovery


def _scheduled(at: float, fault: Fault) -> ScheduledFault:
    return ScheduledFault(
        at=round(at, 1),
        fault=fault.type,
        target=fault.target,
        duration=fault.duration,
        severity=fault.severity,
        ramp=fault.ramp,
        recovery=fault.recovery,
    )
