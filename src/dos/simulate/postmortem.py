"""The record of one incident of the simulation, and how it is written down.

A simulation knows what really happened, so nothing here is an estimate: what was affected and how
many requests failed come from the same world without the fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from dos.kit.clock import SECOND, Millis, from_rfc3339, to_datetime, to_rfc3339
from dos.kit.duration import format_duration
from dos.model.ids import EntityId
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultType
from dos.simulate.happenings import HappeningKind
from dos.simulate.vitals import NAMES, said


def _time(value: object) -> object:
    return from_rfc3339(value) if isinstance(value, str) else value


Time = Annotated[
    Millis,
    BeforeValidator(_time),
    PlainSerializer(to_rfc3339, return_type=str, when_used="json"),
]
"""RFC 3339 when it is written down."""
_MARGIN = " " * 11
"""As wide as the time before a line of the narration."""
_SHOWN, _METRICS_SHOWN = 4, 5
"""Entities, and metrics of each, whose worst values are told on the terminal."""


class Stage(StrEnum):
    """The simulator's own course, idle before and after it."""

    SELECT_TYPE = "select_type"
    SELECT_TARGET = "select_target"
    APPLY_EFFECTS = "apply_effects"
    RECOVER = "recover"
    CLEAN_UP = "clean_up"
    IDLE = "idle"


class Phase(StrEnum):
    """The lifecycle of an incident as people go through it."""

    DETECTION = "detection"
    """Somebody could see it: the first service is affected."""
    TRIAGE = "triage"
    """Its extent is clear: the last service is affected that is before the recovery."""
    MITIGATION = "mitigation"
    """The cause is gone."""
    RESOLUTION = "resolution"
    """Nothing of it is left."""
    POST_MORTEM = "post_mortem"
    """This record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReached:
    """When the simulator was where in the course of a fault."""

    stage: Stage
    at: Time
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReached:
    """When a phase of the lifecycle was reached."""

    phase: Phase
    at: Time
    after: float
    """Seconds since the fault began."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline."""

    at: Time
    kind: HappeningKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How far a metric went from where it was, as it was measured."""

    entity: EntityId
    metric: str
    unit: str
    before: float | None
    """Median of the last ticks in which nothing was wrong; None where there were none."""
    usual: tuple[float, float] | None
    """Least and most in these ticks."""
    worst: float
    at: Time

    @property
    def told(self) -> str:
        """`CPU 35% → 98%`."""
        after = said(self.metric, self.worst, self.unit)
        name = NAMES.get(self.metric, self.metric)
        if self.before is None:
            return f"{name} {after}"
        return f"{name} {said(self.metric, self.before, self.unit)} → {after}"

    @property
    def moved(self) -> bool:
        """Whether it left what was usual by more than chance, so that anybody would notice.

        A metric that counts few requests scatters by itself: what it did before counts.
        """
        if self.before is None or self.usual is None:
            return False
        least, most = self.usual
        beyond = max(self.worst - most, least - self.worst)
        change = abs(self.worst - self.before)
        return beyond > 0.5 * (most - least) and change >= self._least_move(self.before)

    def _least_move(self, before: float) -> float:
        if self.metric in _LEAST_MOVE:
            return _LEAST_MOVE[self.metric]
        if self.metric == "request_rate":
            return max(0.4 * before, 2.0)
        if self.unit == "seconds":
            return 0.75 * before
        return max(10.0, 2.0 * before)


_LEAST_MOVE = {
    "cpu_usage": 0.15,
    "memory_usage": 0.1,
    "error_rate": 0.02,
    "disk_usage": 0.05,
    "hit_ratio": 0.05,
    "retransmits": 0.02,
    "ready": 0.5,
    "clock_offset": 1.0,
}
"""Change of a metric that is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What users had of it: requests at the entry points, against the world without the fault."""

    requests: float
    """All requests while it lasted."""
    failed: float
    """Of these, failed because of it; below 0 where it kept others from failing."""
    slow: float
    """Of these, slow because of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A remediation taken while the incident lasted, on something that was part of it."""

    at: Time
    kind: ActionKind
    target: EntityId
    replicas: int | None
    cured: bool
    """Whether it removed the cause."""
    helped: bool | None
    """Whether callers suffered less for it; None: no clear difference."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmortem:
    """All that is to be said of one incident."""

    id: str
    fault: FaultType
    title: str
    """As people call it: `CPU spike of payment-service`."""
    target: EntityId
    severity: float
    harmless: bool
    start: Time
    end: Time | None
    """None when the simulation ended first."""
    stages: tuple[StageReached, ...]
    phases: tuple[PhaseReached, ...]
    timeline: tuple[Entry, ...]
    affected: tuple[EntityId, ...]
    """First affected first."""
    causes: tuple[EntityId, ...]
    readings: tuple[Reading, ...]
    harm: Harm
    beside: tuple[str, ...]
    """Titles of what else ran at the same time: measured values may be its doing too."""
    actions: tuple[Taken, ...]
    cures: tuple[ActionKind, ...]
    """Actions on the target that would have removed the cause; the rest takes time."""

    @property
    def seconds(self) -> float | None:
        """From the start to the end."""
        return None if self.end is None else (self.end - self.start) / SECOND


POSTMORTEM: TypeAdapter[Postmortem] = TypeAdapter(Postmortem)
"""Reads and writes records as JSON."""


def block(record: Postmortem) -> list[str]:
    """The record in a few lines for a terminal, set in as wide as a time."""
    rows = {
        "post-mortem": [_headline(record)],
        "timeline": [_phases(record)],
        "worst": _worst(record, _SHOWN, _METRICS_SHOWN),
        "beside": [", ".join(record.beside)] if record.beside else [],
        "users": [_harm(record.harm)],
        "actions": _actions(record),
    }
    return [
        f"{_MARGIN}{name if number == 0 else '':<13}{text}"
        for name, texts in rows.items()
        for number, text in enumerate(texts)
    ]


def markdown(record: Postmortem) -> str:
    """The record as a section of a Markdown document."""
    lines = [
        f"## {to_datetime(record.start):%Y-%m-%d %H:%M:%S} {record.title}",
        "",
        f"{_headline(record)}.",
        "",
        f"- Affected: {', '.join(record.affected) or 'nobody'}",
        f"- Root cause: {', '.join(record.causes)}",
        f"- Users: {_harm(record.harm)}",
        f"- At the same time: {', '.join(record.beside) or 'nothing'}",
        *(f"- Action: {text}" for text in _actions(record)),
        "",
        "| phase | at | after | |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_words(one.phase)} | {to_datetime(one.at):%H:%M:%S} |"
            f" {format_duration(one.after)} | {one.note} |"
            for one in record.phases
        ),
        "",
        "| state of the simulator | at | |",
        "| --- | --- | --- |",
        *(
            f"| {_words(one.stage)} | {to_datetime(one.at):%H:%M:%S} | {one.note} |"
            for one in record.stages
        ),
        "",
        "| entity | worst values |",
        "| --- | --- |",
        *("| " + text.replace(": ", " | ", 1) + " |" for text in _worst(record)),
        "",
        *(f"- {to_datetime(one.at):%H:%M:%S} {one.text}" for one in record.timeline),
        "",
    ]
    return "\n".join(lines)


def _words(name: Phase | Stage) -> str:
    return "post-mortem" if name is Phase.POST_MORTEM else name.value.replace("_", " ")


def _headline(record: Postmortem) -> str:
    seconds = record.seconds
    lasted = "still running at the end" if seconds is None else format_duration(seconds)
    count = len(record.affected)
    who = f"{count} service{'s' if count != 1 else ''} affected" if count else "nobody affected"
    kind = ", harmless" if record.harmless else ""
    return f"{record.title}, severity {record.severity:.2f}{kind}; {lasted}, {who}"


def _phases(record: Postmortem) -> str:
    parts = [f"began {to_datetime(record.start):%H:%M:%S}"]
    parts += [
        f"{_words(one.phase)} +{format_duration(one.after)}"
        + (f" ({one.note})" if one.note and one.phase is Phase.MITIGATION else "")
        for one in record.phases
    ]
    return " · ".join(parts)


def _worst(record: Postmortem, most: int = 50, metrics: int = 50) -> list[str]:
    """A line for each entity that shows a difference, the first affected first."""
    by_entity: dict[EntityId, list[str]] = {}
    for reading in record.readings:
        if reading.moved:
            by_entity.setdefault(reading.entity, []).append(reading.told)
    told = [f"{entity}: {', '.join(parts[:metrics])}" for entity, parts in by_entity.items()]
    if len(told) > most:
        return [*told[:most], f"and {len(told) - most} more"]
    return told or ["nothing out of the ordinary was measured"]


def _harm(harm: Harm) -> str:
    failed, slow = round(harm.failed), round(harm.slow)
    parts = []
    if failed > 0:
        parts.append(f"{failed:,} failed")
    if slow > 0:
        parts.append(f"{slow:,} {'was' if slow == 1 else 'were'} slow")
    if not parts:
        return f"none of {harm.requests:,.0f} requests was hurt by it"
    return f"of {harm.requests:,.0f} requests {' and '.join(parts)} because of it"


def _actions(record: Postmortem) -> list[str]:
    if record.actions:
        words = {True: "helped", False: "made it worse", None: "no clear difference so far"}
        return [
            f"{to_datetime(one.at):%H:%M:%S} {one.text}: {words[one.helped]}"
            + (", removed the cause" if one.cured else "")
            for one in record.actions
        ]
    if record.harmless or not record.cures:
        return ["none taken"]
    named = " or ".join(kind.value.replace("_", " ") for kind in record.cures)
    return [f"none taken; {named} of {record.target} would have removed the cause"]
