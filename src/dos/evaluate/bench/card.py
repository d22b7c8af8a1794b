"""The score card: every figure of a bench, as values that go into JSON, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from dos.evaluate.bench.flight import BenchOptions
from dos.evaluate.bench.outcome import Actions, Contender, FlightResult
from dos.evaluate.bench.resample import Estimate
from dos.simulate.faults import FaultType

SCHEMA = 1
"""Goes up when the meaning of a key changes."""


class Unit(StrEnum):
    """How a figure is written."""

    SHARE = "share"
    """0 to 1."""
    SECONDS = "seconds"
    NUMBER = "number"


class Figure(StrEnum):
    """The figures of a contender, in the order in which they are shown."""

    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    MACRO_F1 = "macro_f1"
    RECALL_ALONE = "recall_alone"
    RECALL_AT_ONCE = "recall_at_once"
    DELAY_MEDIAN = "delay_median"
    DELAY_P95 = "delay_p95"
    SEEN_MEDIAN = "seen_median"
    SEEN_P95 = "seen_p95"
    AC1_TOLD = "ac1_told"
    AC1 = "ac1"
    AC3 = "ac3"
    AVG5 = "avg5"
    AC1_OF_ALL = "ac1_of_all"
    NAMED = "named"
    RIGHT_WHEN_NAMED = "right_when_named"
    ECE_FIRST = "ece_first"
    ECE_UNKNOWN = "ece_unknown"
    FALSE_QUIET = "false_quiet"
    FALSE_PAGES_QUIET = "false_pages_quiet"
    FALSE_BUSY = "false_busy"
    FALSE_HARMLESS = "false_harmless"
    PAGES_PER_FAULT = "pages_per_fault"
    ALERTS_PER_FAULT = "alerts_per_fault"
    RESOLVED_MEDIAN = "resolved_median"
    RESOLVED_P95 = "resolved_p95"
    LAG_MEDIAN = "lag_median"

    @property
    def label(self) -> str:
        """In a few words."""
        return _TEXTS[self][0]

    @property
    def unit(self) -> Unit:
        """How it is written."""
        return _TEXTS[self][1]

    @property
    def meaning(self) -> str:
        """As a sentence."""
        return _TEXTS[self][2]


_TEXTS: Mapping[Figure, tuple[str, Unit, str]] = {
    Figure.PRECISION: (
        "precision",
        Unit.SHARE,
        "Faults found, of these and the false incidents in flights with faults.",
    ),
    Figure.RECALL: ("recall", Unit.SHARE, "Faults found, of all faults."),
    Figure.F1: ("F1", Unit.SHARE, "Harmonic mean of both."),
    Figure.MACRO_F1: ("F1, mean of types", Unit.SHARE, "Every type of fault counts the same."),
    Figure.RECALL_ALONE: ("recall, alone", Unit.SHARE, "Of faults with no other one near in time."),
    Figure.RECALL_AT_ONCE: (
        "recall, at once",
        Unit.SHARE,
        "Of faults that meet another one; one incident finds one fault only.",
    ),
    Figure.DELAY_MEDIAN: (
        "time to detect, median",
        Unit.SECONDS,
        "From the start of the fault to the incident, of the faults found.",
    ),
    Figure.DELAY_P95: ("time to detect, p95", Unit.SECONDS, "19 of 20 were found sooner."),
    Figure.SEEN_MEDIAN: (
        "after first effect, median",
        Unit.SECONDS,
        "From when users or operators could notice anything; below 0 when found before.",
    ),
    Figure.SEEN_P95: ("after first effect, p95", Unit.SECONDS, "The same, for 19 of 20."),
    Figure.AC1_TOLD: (
        "AC@1, as first told",
        Unit.SHARE,
        "True cause ranked first when the incident was opened, of the faults found.",
    ),
    Figure.AC1: ("AC@1", Unit.SHARE, "True cause ranked first in the end, of the faults found."),
    Figure.AC3: ("AC@3", Unit.SHARE, "Among the first three."),
    Figure.AVG5: ("Avg@5", Unit.SHARE, "Mean of AC@1 to AC@5."),
    Figure.AC1_OF_ALL: (
        "found and AC@1",
        Unit.SHARE,
        "Found with the true cause first, of all faults, missed ones included.",
    ),
    Figure.NAMED: (
        "a cause is named",
        Unit.SHARE,
        'Incidents about a fault whose first hypothesis is likelier than "none of these".',
    ),
    Figure.RIGHT_WHEN_NAMED: ("right when named", Unit.SHARE, "True causes among those named."),
    Figure.ECE_FIRST: (
        "calibration error, first",
        Unit.SHARE,
        "ECE of the first hypothesis' probability, over incidents about a fault.",
    ),
    Figure.ECE_UNKNOWN: (
        "calibration error, unknown",
        Unit.SHARE,
        "ECE of the probability that the cause is none of those listed.",
    ),
    Figure.FALSE_QUIET: (
        "false incidents, quiet weeks",
        Unit.NUMBER,
        "Per service-week without faults, harmless events included.",
    ),
    Figure.FALSE_PAGES_QUIET: (
        "false pages, quiet weeks",
        Unit.NUMBER,
        "The same, of those that paged somebody.",
    ),
    Figure.FALSE_BUSY: (
        "false incidents, busy hours",
        Unit.NUMBER,
        "Per service-week of flights with faults.",
    ),
    Figure.FALSE_HARMLESS: (
        "false per harmless event",
        Unit.NUMBER,
        "False incidents that touch a harmless event in time and place, per such event.",
    ),
    Figure.PAGES_PER_FAULT: (
        "pages per fault",
        Unit.NUMBER,
        "Incidents that paged somebody in flights with faults, per fault.",
    ),
    Figure.ALERTS_PER_FAULT: (
        "alerts per fault",
        Unit.NUMBER,
        "Alerts of any severity; of a baseline, alerts of single series.",
    ),
    Figure.RESOLVED_MEDIAN: (
        "time to resolve, median",
        Unit.SECONDS,
        "From the start of the fault until the incident about it was resolved.",
    ),
    Figure.RESOLVED_P95: ("time to resolve, p95", Unit.SECONDS, "The same, for 19 of 20."),
    Figure.LAG_MEDIAN: (
        "resolved after the end",
        Unit.SECONDS,
        "From the end of the fault; median, below 0 when it was resolved too early.",
    ),
}


class TypeFigure(StrEnum):
    """The figures of one type of fault."""

    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    DELAY_MEDIAN = "delay_median"
    DELAY_P95 = "delay_p95"
    AC1 = "ac1"
    AC3 = "ac3"
    AVG5 = "avg5"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """How a contender did on one type of fault."""

    type: FaultType
    label: str
    faults: int
    found: int
    false: int
    """False incidents charged to it."""
    figures: Mapping[TypeFigure, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmlessRow:
    """How a contender did on one type of harmless event."""

    type: FaultType
    label: str
    events: int
    false: int
    """False incidents that touch such an event in time and place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldRow:
    """How a contender did in one world."""

    world: str
    services: float
    """Mean over its flights."""
    faults: int
    figures: Mapping[Figure, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Claims of about the same probability."""

    claims: int
    given: float
    """Mean probability."""
    right: float
    """Share that came true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderCard:
    """Everything about one contender."""

    contender: Contender
    label: str
    figures: Mapping[Figure, Estimate]
    types: tuple[TypeRow, ...]
    harmless: tuple[HarmlessRow, ...]
    worlds: tuple[WorldRow, ...]
    faults: int
    found: int
    absorbed: int
    """Missed faults whose cause was in an open incident about another fault."""
    invisible: int
    """Missed faults that nothing would have looked different without."""
    false_busy: int
    false_quiet: int
    duplicates: int
    open_at_end: int
    delays: tuple[float, ...]
    """Of every fault found, in seconds, ascending."""
    reliability: tuple[Bin, ...]
    """Of the first hypothesis' probability; empty where none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the bench took; not the same on every run."""

    wall_seconds: float
    cpu_seconds: float
    """Of all processes that flew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCard:
    """A bench and its figures."""

    schema: int
    version: str
    """Of DOS."""
    options: BenchOptions
    planned: int
    """Flights."""
    flown: int
    """Fewer than planned when it was interrupted."""
    service_weeks_busy: float
    service_weeks_quiet: float
    samples: int
    contenders: tuple[ContenderCard, ...]
    actions: Actions
    """Remediation that the pipeline performed."""
    flights: tuple[FlightResult, ...]
    timing: Timing

    @property
    def complete(self) -> bool:
        """Whether every planned flight was flown."""
        return self.flown == self.planned

    def of(self, contender: Contender) -> ContenderCard:
        """The part about `contender`."""
        return next(one for one in self.contenders if one.contender is contender)

    def to_json(self) -> bytes:
        """Indented JSON; equal for equal arguments, but for `timing`."""
        return SCORE_CARD.dump_json(self, indent=1) + b"\n"


SCORE_CARD: TypeAdapter[ScoreCard] = TypeAdapter(ScoreCard)
