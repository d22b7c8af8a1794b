"""From flights to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dos.evaluate.bench.card import (
    SCHEMA,
    Bin,
    ContenderCard,
    Figure,
    HarmlessRow,
    ScoreCard,
    Timing,
    TypeFigure,
    TypeRow,
    WorldRow,
)
from dos.evaluate.bench.flight import BenchOptions, FlightKind
from dos.evaluate.bench.outcome import (
    Actions,
    Claim,
    Contender,
    Event,
    FlightResult,
    Found,
    Missed,
    Record,
)
from dos.evaluate.bench.resample import BINS, Estimate, Flown, bins_of, f1_of
from dos.kit.version import __version__
from dos.model.telemetry import Float64Array
from dos.simulate.faults import FaultType

DEPTH = 5
_WORLD_FIGURES = (Figure.PRECISION, Figure.RECALL, Figure.F1, Figure.DELAY_MEDIAN, Figure.AC1)


def tally(
    results: Iterable[FlightResult], options: BenchOptions, planned: int, timing: Timing
) -> ScoreCard:
    """All figures of `results`, in whatever order they come.

    Args:
        results: The flights that were flown.
        options: Of the bench.
        planned: How many flights there were to be.
        timing: What they took.
    """
    order = {flight: number for number, flight in enumerate(options.flights())}
    flights = tuple(sorted(results, key=lambda one: order[one.flight]))
    busy = [one for one in flights if one.flight.kind is FlightKind.FAULTS]
    quiet = [one for one in flights if one.flight.kind is FlightKind.QUIET]
    return ScoreCard(
        schema=SCHEMA,
        version=__version__,
        options=options,
        planned=planned,
        flown=len(flights),
        service_weeks_busy=sum(one.service_weeks for one in busy),
        service_weeks_quiet=sum(one.service_weeks for one in quiet),
        samples=sum(one.samples for one in flights),
        contenders=tuple(_contender(contender, busy, quiet) for contender in Contender),
        actions=Actions(
            right=sum(one.actions.right for one in flights),
            wrong=sum(one.actions.wrong for one in flights),
            useless=sum(one.actions.useless for one in flights),
        ),
        flights=flights,
        timing=timing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One fault, what became of it, and the number of its flight."""

    flight: int
    fault: Event
    outcome: Found | Missed


class _Sheet:
    """Flights with faults of one contender, in the shape the statistics need."""

    def __init__(self, contender: Contender, flights: Sequence[FlightResult]) -> None:
        self.flights = flights
        self.records = [one.records[contender] for one in flights]
        self.draws = Flown(len(flights))
        self.cases = [
            _Case(flight=number, fault=fault, outcome=outcome)
            for number, (flight, record) in enumerate(zip(flights, self.records, strict=True))
            for fault, outcome in zip(flight.faults, record.outcomes, strict=True)
        ]

    def per_flight(self, value: Callable[[FlightResult, Record], float]) -> Float64Array:
        """`[flight]` a number of each."""
        pairs = zip(self.flights, self.records, strict=True)
        return np.array([value(flight, record) for flight, record in pairs], np.float64)

    def per_case(
        self, cases: Sequence[_Case], value: Callable[[_Case], float] = lambda _: 1.0
    ) -> Float64Array:
        """`[flight]` the sum over its cases."""
        sums = np.zeros(len(self.flights))
        for case in cases:
            sums[case.flight] += value(case)
        return sums

    def quantile(self, pairs: Sequence[tuple[int, float]], share: float) -> Estimate:
        """A quantile of values with the numbers of their flights."""
        return self.draws.quantile([one for _, one in pairs], [one for one, _ in pairs], share)


def _contender(
    contender: Contender, busy: Sequence[FlightResult], quiet: Sequence[FlightResult]
) -> ContenderCard:
    sheet, calm = _Sheet(contender, busy), _Sheet(contender, quiet)
    whole = _Sheet(contender, [*busy, *quiet])
    missed = [case for case in sheet.cases if isinstance(case.outcome, Missed)]
    found = [case.outcome for case in sheet.cases if isinstance(case.outcome, Found)]
    claims = [claim for record in sheet.records for claim in record.claims]
    return ContenderCard(
        contender=contender,
        label=contender.label,
        figures={
            **_detection(sheet, sheet.cases),
            Figure.MACRO_F1: _macro_f1(sheet),
            **_recalls(sheet),
            **_causes(sheet, sheet.cases),
            **_calibration(sheet),
            Figure.FALSE_QUIET: _false_rate(calm),
            Figure.FALSE_PAGES_QUIET: _false_rate(calm, paged=True),
            Figure.FALSE_BUSY: _false_rate(sheet),
            Figure.FALSE_HARMLESS: _false_per_harmless(whole),
            **_told(sheet),
            **_resolving(sheet),
        },
        types=_types(sheet),
        harmless=_harmless(contender, [*busy, *quiet]),
        worlds=_worlds(contender, busy),
        faults=len(sheet.cases),
        found=len(found),
        absorbed=sum(isinstance(case.outcome, Missed) and case.outcome.absorbed for case in missed),
        invisible=sum(case.fault.visible is None for case in missed),
        false_busy=sum(len(record.false) for record in sheet.records),
        false_quiet=sum(len(record.false) for record in calm.records),
        duplicates=sum(one.duplicates for one in found),
        open_at_end=sum(record.open_at_end for record in (*sheet.records, *calm.records)),
        delays=tuple(sorted(one.delay for one in found)),
        reliability=_reliability(claims),
    )


def _detection(sheet: _Sheet, cases: Sequence[_Case]) -> dict[Figure, Estimate]:
    found = [case for case in cases if isinstance(case.outcome, Found)]
    hits, of = sheet.per_case(found), sheet.per_case(cases)
    false = sheet.per_flight(lambda _, record: len(record.false))
    return {
        Figure.PRECISION: sheet.draws.share(hits, hits + false),
        Figure.RECALL: sheet.draws.share(hits, of),
        Figure.F1: sheet.draws.f1(hits, false, of),
        **_delays(sheet, cases),
    }


def _delays(sheet: _Sheet, cases: Sequence[_Case]) -> dict[Figure, Estimate]:
    found = [(case, case.outcome) for case in cases if isinstance(case.outcome, Found)]
    delays = [(case.flight, one.delay) for case, one in found]
    since = [
        (case.flight, one.delay - (case.fault.visible - case.fault.start))
        for case, one in found
        if case.fault.visible is not None
    ]
    return {
        Figure.DELAY_MEDIAN: sheet.quantile(delays, 0.5),
        Figure.DELAY_P95: sheet.quantile(delays, 0.95),
        Figure.SEEN_MEDIAN: sheet.quantile(since, 0.5),
        Figure.SEEN_P95: sheet.quantile(since, 0.95),
    }


def _macro_f1(sheet: _Sheet) -> Estimate:
    """The mean over the types that occur in a draw."""
    parts = []
    for kind in _kinds(sheet):
        hits, false, of = _counts(sheet, kind)
        parts.append(f1_of(*(sheet.draws.sums(one) for one in (hits, false, of))))
    if not parts:
        return Estimate(value=None)
    table = np.array(parts)
    known = np.isfinite(table)
    count = np.maximum(known.sum(axis=0), 1)
    return sheet.draws.estimate(np.where(known, table, 0.0).sum(axis=0) / count, len(parts))


def _recalls(sheet: _Sheet) -> dict[Figure, Estimate]:
    """Of faults alone, and of faults that met others."""
    figures = {}
    for figure, alone in ((Figure.RECALL_ALONE, True), (Figure.RECALL_AT_ONCE, False)):
        cases = [case for case in sheet.cases if case.fault.alone is alone]
        found = [case for case in cases if isinstance(case.outcome, Found)]
        figures[figure] = sheet.draws.share(sheet.per_case(found), sheet.per_case(cases))
    return figures


def _causes(sheet: _Sheet, cases: Sequence[_Case]) -> dict[Figure, Estimate]:
    """Root causes, of the faults found."""
    found = [(case, case.outcome) for case in cases if isinstance(case.outcome, Found)]
    of = sheet.per_case([case for case, _ in found])

    def within(place: int | None, depth: int) -> bool:
        return place is not None and place <= depth

    def share(depth: int, told: bool = False) -> Estimate:
        hits = [case for case, one in found if within(one.place_told if told else one.place, depth)]
        return sheet.draws.share(sheet.per_case(hits), of)

    average = np.zeros(len(sheet.flights))
    for case, one in found:
        hits = [within(one.place, depth) for depth in range(1, DEPTH + 1)]
        average[case.flight] += sum(hits) / DEPTH
    first = sheet.per_case([case for case, one in found if within(one.place, 1)])
    return {
        Figure.AC1_TOLD: share(1, told=True),
        Figure.AC1: share(1),
        Figure.AC3: share(3),
        Figure.AVG5: sheet.draws.share(average, of),
        Figure.AC1_OF_ALL: sheet.draws.share(first, sheet.per_case(cases)),
    }


def _calibration(sheet: _Sheet) -> dict[Figure, Estimate]:
    claims = [
        (number, claim) for number, record in enumerate(sheet.records) for claim in record.claims
    ]
    flight = np.array([number for number, _ in claims], np.int64)

    def error(given: Callable[[Claim], float], right: Callable[[Claim], bool]) -> Estimate:
        said = np.array([given(claim) for _, claim in claims], np.float64)
        was = np.array([right(claim) for _, claim in claims], np.bool_)
        return sheet.draws.calibration(said, was, flight)

    def count(which: Callable[[Claim], bool]) -> Float64Array:
        return sheet.per_flight(lambda _, record: sum(which(one) for one in record.claims))

    named = count(lambda one: one.named)
    right = count(lambda one: one.named and one.right)
    return {
        Figure.NAMED: sheet.draws.share(named, count(lambda _: True)),
        Figure.RIGHT_WHEN_NAMED: sheet.draws.share(right, named),
        Figure.ECE_FIRST: error(lambda one: one.probability, lambda one: one.right),
        Figure.ECE_UNKNOWN: error(lambda one: one.unknown, lambda one: one.unlisted),
    }


def _false_rate(sheet: _Sheet, *, paged: bool = False) -> Estimate:
    """False incidents per service-week; only those that paged somebody, where `paged`."""
    count = sheet.per_flight(lambda _, record: sum(one.paged or not paged for one in record.false))
    return sheet.draws.rate(count, sheet.per_flight(lambda flight, _: flight.service_weeks))


def _false_per_harmless(sheet: _Sheet) -> Estimate:
    fooled = sheet.per_flight(lambda _, record: sum(one.during is not None for one in record.false))
    return sheet.draws.rate(fooled, sheet.per_flight(lambda flight, _: len(flight.harmless)))


def _told(sheet: _Sheet) -> dict[Figure, Estimate]:
    """What people were bothered with."""
    faults = sheet.per_flight(lambda flight, _: len(flight.faults))
    pages = sheet.per_flight(lambda _, record: record.pages)
    alerts = sheet.per_flight(lambda _, record: record.alerts)
    return {
        Figure.PAGES_PER_FAULT: sheet.draws.ratio(pages, faults),
        Figure.ALERTS_PER_FAULT: sheet.draws.ratio(alerts, faults),
    }


def _resolving(sheet: _Sheet) -> dict[Figure, Estimate]:
    resolved, lag = list[tuple[int, float]](), list[tuple[int, float]]()
    for case in sheet.cases:
        if not isinstance(case.outcome, Found) or case.outcome.resolved is None:
            continue
        resolved.append((case.flight, case.outcome.resolved))
        if case.fault.end is not None:
            lasted = case.fault.end - case.fault.start
            lag.append((case.flight, case.outcome.resolved - lasted))
    return {
        Figure.RESOLVED_MEDIAN: sheet.quantile(resolved, 0.5),
        Figure.RESOLVED_P95: sheet.quantile(resolved, 0.95),
        Figure.LAG_MEDIAN: sheet.quantile(lag, 0.5),
    }


def _kinds(sheet: _Sheet) -> list[FaultType]:
    """Types of faults that occurred, in the order of their definition."""
    there = {case.fault.type for case in sheet.cases}
    return [kind for kind in FaultType if kind in there]


def _counts(sheet: _Sheet, kind: FaultType) -> tuple[Float64Array, Float64Array, Float64Array]:
    """`[flight]` faults of `kind` found, false incidents charged to it, and faults of it."""
    cases = [case for case in sheet.cases if case.fault.type is kind]
    found = [case for case in cases if isinstance(case.outcome, Found)]
    false = sheet.per_flight(lambda _, record: sum(one.charged is kind for one in record.false))
    return sheet.per_case(found), false, sheet.per_case(cases)


def _types(sheet: _Sheet) -> tuple[TypeRow, ...]:
    rows = []
    for kind in _kinds(sheet):
        cases = [case for case in sheet.cases if case.fault.type is kind]
        hits, false, of = _counts(sheet, kind)
        delays, causes = _delays(sheet, cases), _causes(sheet, cases)
        rows.append(
            TypeRow(
                type=kind,
                label=kind.label,
                faults=len(cases),
                found=int(hits.sum()),
                false=int(false.sum()),
                figures={
                    TypeFigure.PRECISION: sheet.draws.share(hits, hits + false),
                    TypeFigure.RECALL: sheet.draws.share(hits, of),
                    TypeFigure.F1: sheet.draws.f1(hits, false, of),
                    TypeFigure.DELAY_MEDIAN: delays[Figure.DELAY_MEDIAN],
                    TypeFigure.DELAY_P95: delays[Figure.DELAY_P95],
                    TypeFigure.AC1: causes[Figure.AC1],
                    TypeFigure.AC3: causes[Figure.AC3],
                    TypeFigure.AVG5: causes[Figure.AVG5],
                },
            )
        )
    return tuple(rows)


def _harmless(contender: Contender, flights: Sequence[FlightResult]) -> tuple[HarmlessRow, ...]:
    """Harmless events of all flights; quiet ones have most of them."""
    false = [one for flight in flights for one in flight.records[contender].false]
    events = [event for flight in flights for event in flight.harmless]
    return tuple(
        HarmlessRow(
            type=kind,
            label=kind.label,
            events=sum(event.type is kind for event in events),
            false=sum(one.during is kind for one in false),
        )
        for kind in FaultType
        if any(event.type is kind for event in events)
    )


def _worlds(contender: Contender, busy: Sequence[FlightResult]) -> tuple[WorldRow, ...]:
    rows = []
    for world in dict.fromkeys(one.flight.world for one in busy):
        flights = [one for one in busy if one.flight.world == world]
        sheet = _Sheet(contender, flights)
        figures = {**_detection(sheet, sheet.cases), **_causes(sheet, sheet.cases)}
        rows.append(
            WorldRow(
                world=world,
                services=sum(one.services for one in flights) / len(flights),
                faults=len(sheet.cases),
                figures={figure: figures[figure] for figure in _WORLD_FIGURES},
            )
        )
    return tuple(rows)


def _reliability(claims: Sequence[Claim]) -> tuple[Bin, ...]:
    """Claims about the first hypothesis by their probability, empty bins left out."""
    if not claims:
        return ()
    given = np.array([claim.probability for claim in claims])
    right = np.array([claim.right for claim in claims], np.float64)
    place = bins_of(given)
    return tuple(
        Bin(
            claims=int((place == number).sum()),
            given=float(given[place == number].mean()),
            right=float(right[place == number].mean()),
        )
        for number in range(BINS)
        if (place == number).any()
    )
