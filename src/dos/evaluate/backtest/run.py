"""One run of the pipeline over the past, and what it would have told people.

The pipeline is the one that runs live, built by the same wiring; quiet stretches are taken in
blocks (`Pipeline.skim`), which changes nothing but the time it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.settings import Settings
from dos.bus.base import Entry
from dos.evaluate.backtest.past import Known, Past
from dos.kit.clock import MINUTE, Millis, SystemClock
from dos.model.alert import AlertState
from dos.model.events import AnomalyStarted, Decisions, IncidentChanged, NotificationQueued
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.ids import EntityId, IncidentId
from dos.model.impact import Severity
from dos.model.incident import Incident

GRACE = MINUTE
"""A page this long after the end of what was wrong may still be about it, ms."""
EARLY = 2 * MINUTE
"""What people wrote about times is taken with this tolerance, ms."""
_SMALLEST, _LARGEST = 8, 512
"""Inputs of a block."""
_SAMPLES = 2_000_000
"""Samples of a block: bounds the memory."""
_PAGER = Receiver(name="page")
"""Is told where nobody else is: a run without receivers would page nobody."""

Progress = Callable[[Millis], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Somebody would have been told."""

    incident: IncidentId
    told_at: Millis
    began_at: Millis
    opened_at: Millis
    resolved_at: Millis | None
    title: str
    severity: Severity | None
    root: EntityId | None
    """The most probable cause, when the ranker stands by one."""
    entities: tuple[EntityId, ...]
    receivers: tuple[str, ...]
    about: str | None = None
    """Id of what was really wrong, where it is known."""
    false: bool = False
    """Whether somebody said that nothing was wrong then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the pages are worth, as far as it is known."""

    pages: int
    right: int
    """About something that was really wrong."""
    false: int
    """About what somebody labelled as nothing."""
    unjudged: int
    """Nobody said anything about it."""
    known: int
    """Things that were really wrong, in the time that was judged."""
    found: int
    missed: tuple[str, ...]
    """Ids of those that nobody was told about."""
    mean_delay: float | None
    """Seconds from their beginning to the first page; None when nothing was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One run over the past."""

    pages: tuple[Page, ...]
    """In order of time."""
    tally: Tally
    incidents: int
    anomalies: int
    series: int
    samples: int
    inputs: int
    since: Millis
    until: Millis
    """Time that was judged."""
    wall_seconds: float


@dataclass(slots=True, kw_only=True)
class _Log:
    """What is remembered of the decisions."""

    since: Millis
    incidents: dict[IncidentId, Incident] = field(default_factory=dict)
    told: dict[IncidentId, tuple[Millis, list[str]]] = field(default_factory=dict)
    anomalies: int = 0
    samples: int = 0
    inputs: int = 0
    first: Millis | None = None
    last: Millis = Millis(0)

    def follow(self, decisions: Decisions) -> None:
        for one in decisions.events:
            match one.event:
                case IncidentChanged(incident=incident):
                    self.incidents[incident.id] = incident
                case AnomalyStarted():
                    self.anomalies += one.at >= self.since
                case NotificationQueued(notification=sent):
                    incident_id = sent.alert.incident_id
                    if sent.alert.state is AlertState.FIRING and incident_id is not None:
                        receivers = self.told.setdefault(incident_id, (one.at, []))[1]
                        if sent.receiver not in receivers:
                            receivers.append(sent.receiver)
                case _:
                    pass

    def saw(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.inputs += 1
            self.samples += len(entry.intake.metrics)
            self.last = max(self.last, entry.intake.now)
            if self.first is None and not entry.intake.history:
                self.first = entry.intake.now


def fly(past: Past, settings: Settings, progress: Progress | None = None) -> Flight:
    """Run the pipeline under `settings` over `past`.

    Cost: the scoring of all samples, and the pipeline's step for each input at which something is
    abnormal.
    """
    clock = SystemClock()
    began = clock.monotonic()
    receivers = past.receivers or wiring.receivers_of(settings)
    pipeline = wiring.build_pipeline(
        settings, wiring.open_history(settings, None), receivers or (_PAGER,)
    )
    log = _Log(since=past.since)
    block: list[Entry] = []
    size, held = _SMALLEST, 0

    def flush() -> int:
        """Take in the block; returns how large the next one may be."""
        if not block:
            return size
        quiet = pipeline.skim([entry.intake for entry in block], block[-1].offset)
        if not quiet:
            for entry in block:
                log.follow(pipeline.step(entry.intake, entry.offset))
        log.saw(block)
        if progress is not None:
            progress(block[-1].intake.now)
        block.clear()
        return min(2 * size, _LARGEST) if quiet else _SMALLEST

    for entry in past.entries():
        if past.until is not None and entry.intake.now > past.until:
            break
        block.append(entry)
        held += len(entry.intake.metrics)
        if _has_news(entry) or len(block) >= size or held >= _SAMPLES:
            if _has_news(entry) and len(block) > 1:
                block.pop()
                size, held = flush(), 0
                block.append(entry)
            size, held = flush(), 0
    flush()
    pages = judged(_pages(log), past)
    since = max(past.since, log.first or Millis(0))
    return Flight(
        pages=pages,
        tally=tally(pages, past, since, log.last),
        incidents=sum(one.opened_at >= past.since for one in log.incidents.values()),
        anomalies=log.anomalies,
        series=len(pipeline.parts.registry),
        samples=log.samples,
        inputs=log.inputs,
        since=since,
        until=log.last,
        wall_seconds=round(clock.monotonic() - began, 3),
    )


def _has_news(entry: Entry) -> bool:
    """Whether there is more in it than samples of the present."""
    one = entry.intake
    return bool(
        one.history or one.series or one.entities or one.edges or one.changes or one.feedback
    )


def _pages(log: _Log) -> list[Page]:
    pages = []
    for incident_id, (told_at, receivers) in log.told.items():
        incident = log.incidents[incident_id]
        if told_at < log.since:
            continue
        top = incident.root_cause.top if incident.root_cause else None
        pages.append(
            Page(
                incident=incident_id,
                told_at=told_at,
                began_at=incident.began_at,
                opened_at=incident.opened_at,
                resolved_at=incident.resolved_at,
                title=incident.title,
                severity=incident.impact.severity if incident.impact else None,
                root=top.entity if top else None,
                entities=incident.entities,
                receivers=tuple(receivers),
            )
        )
    return sorted(pages, key=lambda one: (one.told_at, one.incident))


def judged(pages: Sequence[Page], past: Past) -> tuple[Page, ...]:
    """The pages with what is known about them."""
    false = [one for one in past.labels if one.holds and one.kind is FeedbackKind.FALSE]
    return tuple(
        replace(page, about=about, false=about is None and any(_denied(page, o) for o in false))
        for page in pages
        for about in [_about(page, past.known)]
    )


def _about(page: Page, known: Sequence[Known]) -> str | None:
    """What was wrong when the page was sent, where it was sent about: the latest if several."""
    fitting = [
        one
        for one in known
        if one.start - EARLY <= page.opened_at <= one.end + GRACE
        and not set(one.entities).isdisjoint(page.entities)
    ]
    return max(fitting, key=lambda one: (one.start, one.id)).id if fitting else None


def _denied(page: Page, label: Feedback) -> bool:
    over = page.resolved_at if page.resolved_at is not None else page.opened_at
    together = page.began_at <= label.end and over >= label.start
    return together and not set(label.entities).isdisjoint(page.entities)


def tally(pages: Sequence[Page], past: Past, since: Millis, until: Millis) -> Tally:
    """Count pages by what is known about them, and what is known by whether it was found."""
    known = [one for one in past.known if one.end >= since and one.start <= until]
    first: dict[str, Millis] = {}
    for page in pages:
        if page.about is not None:
            first.setdefault(page.about, page.told_at)
    delays = [max(0, first[one.id] - one.start) / 1000 for one in known if one.id in first]
    right = sum(page.about is not None for page in pages)
    false = sum(page.false for page in pages)
    return Tally(
        pages=len(pages),
        right=right,
        false=false,
        unjudged=len(pages) - right - false,
        known=len(known),
        found=len(delays),
        missed=tuple(one.id for one in known if one.id not in first),
        mean_delay=round(sum(delays) / len(delays), 1) if delays else None,
    )
