"""Flights made up by hand, whose figures can be told by looking."""

from __future__ import annotations

from collections.abc import Sequence

from dos.evaluate.bench.card import ScoreCard, Timing
from dos.evaluate.bench.flight import BenchOptions, Flight, FlightKind, Split
from dos.evaluate.bench.outcome import (
    Actions,
    Claim,
    Contender,
    Event,
    FalseIncident,
    FlightResult,
    Found,
    Missed,
    Record,
)
from dos.evaluate.bench.tally import tally
from dos.model.ids import EntityId
from dos.simulate.faults import FaultType

OPTIONS = BenchOptions(worlds=("shop", "sketch"), seeds=2, split=Split.DEV, jobs=1)
CPU, LEAK, BATCH = FaultType.CPU_SPIKE, FaultType.MEMORY_LEAK, FaultType.BATCH_JOB


def event(kind: FaultType, start: float, *, alone: bool = True, visible: bool = True) -> Event:
    """Lasts 100 s, and shows after 5."""
    return Event(
        type=kind,
        target=EntityId("db"),
        severity=0.7,
        start=start,
        end=start + 100.0,
        visible=start + 5.0 if visible else None,
        alone=alone,
    )


def found(delay: float, place: int | None = 1, told: int | None = 1, dupes: int = 0) -> Found:
    return Found(
        delay=delay, place_told=told, place=place, resolved=150.0 + delay, duplicates=dupes
    )


def false(
    charged: FaultType | None = None, *, during: bool = False, paged: bool = True
) -> FalseIncident:
    return FalseIncident(
        at=50.0,
        entities=(EntityId("web"),),
        paged=paged,
        during=charged if during else None,
        charged=charged,
    )


def claim(probability: float, right: bool, unknown: float = 0.0, unlisted: bool = False) -> Claim:
    return Claim(probability=probability, right=right, unknown=unknown, unlisted=unlisted)


def record(
    outcomes: Sequence[Found | Missed] = (),
    wrong: Sequence[FalseIncident] = (),
    claims: Sequence[Claim] = (),
    *,
    pages: int = 0,
    alerts: int = 0,
) -> Record:
    return Record(
        outcomes=tuple(outcomes),
        claims=tuple(claims),
        false=tuple(wrong),
        incidents=len(outcomes) + len(wrong),
        pages=pages,
        alerts=alerts,
        open_at_end=0,
    )


def flown(
    flight: Flight,
    faults: Sequence[Event] = (),
    mine: Record | None = None,
    *,
    harmless: Sequence[Event] = (),
    actions: Actions | None = None,
) -> FlightResult:
    """Of ten services and a week; the baselines missed everything and were quiet."""
    nothing = record([Missed(absorbed=False)] * len(faults))
    return FlightResult(
        flight=flight,
        services=10,
        seconds=7 * 86_400.0,
        samples=1_000,
        faults=tuple(faults),
        harmless=tuple(harmless),
        records={
            Contender.PIPELINE: mine if mine is not None else nothing,
            Contender.THRESHOLDS: nothing,
            Contender.THREE_SIGMA: nothing,
        },
        actions=actions or Actions(),
    )


def busy_flights() -> list[Flight]:
    return [one for one in OPTIONS.flights() if one.kind is FlightKind.FAULTS]


def quiet_flights() -> list[Flight]:
    return [one for one in OPTIONS.flights() if one.kind is FlightKind.QUIET]


def results() -> list[FlightResult]:
    """Four flights with two faults each, four quiet ones; see the tests for what comes of them."""
    shop, sketch, shop2, sketch2 = busy_flights()
    faults = [event(CPU, 100.0), event(LEAK, 1_000.0)]
    missed = Missed(absorbed=False)
    busy = [
        flown(
            shop,
            faults,
            record([found(10.0), found(60.0, place=2)], claims=[claim(0.9, True)], pages=2),
        ),
        flown(
            sketch,
            faults,
            record([found(20.0), missed], [false(LEAK)], [claim(0.9, False, 0.05)], pages=1),
        ),
        flown(
            shop2,
            faults,
            record([found(30.0, dupes=2), found(90.0, place=None, told=3)], alerts=4, pages=4),
            harmless=[event(BATCH, 3_000.0)],
        ),
        flown(
            sketch2,
            [event(CPU, 100.0, alone=False), event(LEAK, 150.0, alone=False, visible=False)],
            record([found(40.0), Missed(absorbed=True)]),
            actions=Actions(right=1, wrong=2),
        ),
    ]
    calm = [flown(one) for one in quiet_flights()]
    calm[0] = flown(
        quiet_flights()[0],
        mine=record(wrong=[false(BATCH, during=True, paged=False), false()]),
        harmless=[event(BATCH, 0.0)] * 3,
    )
    return [*busy, *calm]


def card(flights: Sequence[FlightResult] | None = None) -> ScoreCard:
    timing = Timing(wall_seconds=12.0, cpu_seconds=20.0)
    chosen = results() if flights is None else flights
    return tally(chosen, OPTIONS, len(OPTIONS.flights()), timing)
