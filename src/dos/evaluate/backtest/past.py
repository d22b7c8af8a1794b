"""Where the past comes from: recordings, cases, and the history that a running DOS keeps.

Whatever it was, it comes out as entries of an intake log, so that the pipeline cannot tell it
from the present. What people labelled, and what is known to have been broken, lies beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.recording import read_manifest, settings_of
from dos.app.settings import Settings
from dos.bus.base import Entry
from dos.evaluate.cases import load_case
from dos.ingest.normalise import Normaliser
from dos.ingest.playback import deliveries
from dos.ingest.recorded import read_recording
from dos.kit.clock import DAY, HOUR, MINUTE, SECOND, Millis
from dos.kit.errors import PermanentError
from dos.model.change import Change
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.graph import EdgeEvidence, GraphSnapshot
from dos.model.ids import EntityId, SeriesId
from dos.model.intake import Intake
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import MetricBatch
from dos.storage.base import LongHistory, Store

_STRETCH = HOUR
"""So much of the long history is read at once."""
_SILENCE = MINUTE
"""Where nothing came for longer, time still passes, in steps of this."""
_MOST = 100_000
"""Changes and labels that are looked at."""
_BEATS = 30
"""Steps of silence that are played: what was open is over by then."""


class KnownKind(StrEnum):
    """How it is known that something was wrong."""

    CONFIRMED = "confirmed"
    """Somebody labelled a page as right."""
    MISSED = "missed"
    """Somebody said that it was missed."""
    INJECTED = "injected"
    """It was put into the samples to see whether it is found."""
    RECORDED = "recorded"
    """The recording says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Something that really was wrong."""

    id: str
    kind: KnownKind
    start: Millis
    end: Millis
    entities: tuple[EntityId, ...]
    """Where it could be seen; the first one is where it began."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """Recorded input, to be run as often as one likes."""

    name: str
    read: Callable[[], Iterator[Entry]]
    """Begins again with every call."""
    since: Millis = Millis(0)
    """What comes before is learned from or warmed up on, and not judged."""
    until: Millis | None = None
    labels: tuple[Feedback, ...] = ()
    """What people said; given to the pipeline with its first input."""
    known: tuple[Known, ...] = ()
    settings: Settings | None = None
    """Those of the recording, where it has some."""
    receivers: tuple[Receiver, ...] | None = None

    def entries(self) -> Iterator[Entry]:
        """The input with the labels in its first entry."""
        for number, entry in enumerate(self.read()):
            if number == 0 and self.labels:
                told = (*entry.intake.feedback, *self.labels)
                yield replace(entry, intake=replace(entry.intake, feedback=told))
            else:
                yield entry


def of_path(path: Path, since: float | None = None) -> Past:
    """A recording of DOS, or a recorded case.

    Args:
        path: Its directory.
        since: Judge only that many seconds before its end.

    Raises:
        PermanentError: There is neither.
        CorruptDataError: It is damaged; the message names file and place.
    """
    if not (path / "manifest.json").exists():
        return _of_case(path)
    manifest = read_manifest(path)
    settings = settings_of(manifest, path)

    def read() -> Iterator[Entry]:
        stream = wiring.open_recorded_log(path)
        yield from stream.read(stream.start)

    begin = Millis(0)
    if since is not None:
        end = max((entry.intake.now for entry in read()), default=0)
        begin = Millis(max(0, end - round(since * SECOND)))
    return Past(
        name=str(path),
        read=read,
        since=begin,
        settings=settings,
        receivers=manifest.receivers,
    )


def _of_case(path: Path) -> Past:
    recording = read_recording(path)

    def read() -> Iterator[Entry]:
        normaliser = Normaliser(SeriesRegistry())
        for number, (at, delivery) in enumerate(deliveries(recording)):
            yield Entry(offset=number + 1, intake=normaliser.take(at, "file", delivery))

    known: tuple[Known, ...] = ()
    truth, about = load_case(path).truth, recording.about
    if truth is not None and about.inject_time is not None:
        last = int(recording.table.times[-1])
        end = round(about.end_time * SECOND) if about.end_time is not None else last
        entity = EntityId(truth.entity)
        callers = [caller for caller, callee in recording.edges if callee == entity]
        known = (
            Known(
                id=path.name,
                kind=KnownKind.RECORDED,
                start=Millis(round(about.inject_time * SECOND)),
                end=Millis(end),
                entities=(entity, *callers),
                text=f"{about.fault or 'fault'} of {truth.entity}",
            ),
        )
    return Past(name=str(path), read=read, known=known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Which part of the long history."""

    since: float = 7 * 86_400.0
    """Seconds before its end that are judged."""
    learn: float = 86_400.0
    """Seconds before those that the baseline is learned from."""
    until: Millis | None = None
    """Its end; None: the newest sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which part of the past is used: `[first, since)` to learn from, `[since, end]` to judge."""

    first: Millis
    since: Millis
    end: Millis


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Around:
    """What is known beside the samples."""

    graphs: Sequence[tuple[Millis, GraphSnapshot]]
    """What was known of the graph, from time to time; at least once."""
    changes: Sequence[Change] = ()
    labels: tuple[Feedback, ...] = ()


async def of_history(settings: Settings, stretch: Stretch) -> Past:
    """What a DOS with these settings has kept: samples, graph, changes and labels.

    Works beside the running DOS: it only reads. The newest minutes may still be missing.

    Raises:
        PermanentError: It has kept nothing.
    """
    directory = wiring.data_directory(settings)
    if directory is None or not (directory / "history").is_dir():
        where = directory or "this configuration"
        msg = f"There is no history in {where}."
        remedy = "Name the data_dir with --present, or give a recording, a case or --prometheus."
        raise PermanentError(msg, remedy=remedy)
    long = wiring.open_long_history(directory)
    bounds = bounds_of(long, stretch, str(directory))
    store = wiring.open_store(settings)
    await store.open()
    try:
        around = await around_in(store, bounds, settings)
    finally:
        await store.close()
    return from_samples(long, bounds, around, settings, str(directory))


def bounds_of(long: LongHistory, stretch: Stretch, name: str) -> Bounds:
    """The part of a history that was asked for, as far as there is one.

    Raises:
        PermanentError: There are no samples.
    """
    span = long.span()
    if span is None or not long.series():
        msg = f"The history in {name} has no samples yet."
        raise PermanentError(msg, remedy="They are written every few minutes: try again later.")
    end = Millis(min(span[1], stretch.until or span[1]))
    since = Millis(max(span[0], end - round(stretch.since * SECOND)))
    first = Millis(max(span[0], since - round(stretch.learn * SECOND)))
    return Bounds(first=first, since=since, end=end)


async def around_in(store: Store, bounds: Bounds, settings: Settings) -> Around:
    """What a store of decisions knows beside the samples."""
    refresh = round(min(HOUR, settings.topology.edge_ttl * SECOND / 2))
    times = [Millis(at) for at in range(bounds.first, bounds.end, refresh)] or [bounds.first]
    since = Millis(max(0, bounds.first - DAY))
    changes = await store.changes(since=since, until=bounds.end, limit=_MOST)
    graphs: list[tuple[Millis, GraphSnapshot]] = []
    known = await store.graph()
    for at in reversed(times):
        # Before it was known it was there all the same: the first that is known holds.
        there = await store.graph(at)
        known = there if there.edges else known
        graphs.insert(0, (at, known))
    return Around(
        graphs=graphs,
        changes=sorted(changes, key=lambda one: (one.at, one.id)),
        labels=tuple(await store.feedback(holds=True, limit=_MOST)),
    )


def from_samples(
    long: LongHistory, bounds: Bounds, around: Around, settings: Settings, name: str
) -> Past:
    """The past from its parts."""
    slot = round(settings.history.resolution * SECOND)
    return Past(
        name=name,
        read=_Kept(long=long, bounds=bounds, slot=slot, around=around).read,
        since=bounds.since,
        until=bounds.end,
        labels=around.labels,
        known=tuple(known_from(around.labels)),
    )


def known_from(labels: Sequence[Feedback]) -> Iterator[Known]:
    """What labels say was really wrong."""
    kinds = {
        FeedbackKind.CONFIRMED: KnownKind.CONFIRMED,
        FeedbackKind.MISSED: KnownKind.MISSED,
    }
    for one in labels:
        if one.holds and one.kind in kinds:
            yield Known(
                id=one.id,
                kind=kinds[one.kind],
                start=one.start,
                end=one.end,
                entities=tuple(EntityId(name) for name in one.entities),
                text=one.note or f"{one.kind.value} by {one.author}",
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """The long history as entries."""

    long: LongHistory
    bounds: Bounds
    slot: int
    """Samples within so many ms are one input."""
    around: Around

    def read(self) -> Iterator[Entry]:
        """Series first, then the past to learn from, then slot by slot."""
        for number, intake in enumerate(self._intakes(), start=1):
            yield Entry(offset=number, intake=intake)

    def _intakes(self) -> Iterator[Intake]:
        series = self.long.series()
        ids = [one.id for one in series]
        at, graph = self.around.graphs[0]
        yield Intake(
            now=self.bounds.first,
            series=tuple(series),
            entities=graph.entities,
            edges=_evidence(graph, Millis(at)),
        )
        for start in range(self.bounds.first, self.bounds.since, _STRETCH):
            batch = self._samples(ids, start, min(start + _STRETCH, self.bounds.since) - 1)
            if len(batch):
                newest = Millis(int(batch.timestamp.max()))
                yield Intake(now=newest, history=True, metrics=batch)
        news = self._news()
        due = next(news, None)
        for intake in self._present(ids):
            while due is not None and due.now <= intake.now:
                yield replace(due, now=intake.now)
                due = next(news, None)
            yield intake

    def _present(self, ids: Sequence[SeriesId]) -> Iterator[Intake]:
        last = self.bounds.since
        for start in range(self.bounds.since, self.bounds.end, _STRETCH):
            batch = self._samples(ids, start, min(start + _STRETCH, self.bounds.end) - 1)
            for tick in _ticks(batch, self.slot):
                for beat in range(1, min(_BEATS, (tick.now - last - 1) // _SILENCE) + 1):
                    yield Intake(now=Millis(last + beat * _SILENCE))
                yield tick
                last = tick.now

    def _news(self) -> Iterator[Intake]:
        """The graph as it became, and changes, each at its time; none of it before the first."""
        graphs = [
            Intake(now=Millis(at), entities=graph.entities, edges=_evidence(graph, Millis(at)))
            for at, graph in self.around.graphs[1:]
        ]
        changes = [Intake(now=one.at, changes=(one,)) for one in self.around.changes]
        yield from sorted([*graphs, *changes], key=lambda one: one.now)

    def _samples(self, ids: Sequence[SeriesId], start: int, end: int) -> MetricBatch:
        """In order of time."""
        batch = self.long.read(ids, Millis(start), Millis(end))
        order = np.argsort(batch.timestamp, kind="stable")
        return MetricBatch(
            series_id=batch.series_id[order],
            timestamp=batch.timestamp[order],
            value=batch.value[order],
        )


def _evidence(graph: GraphSnapshot, at: Millis) -> tuple[EdgeEvidence, ...]:
    return tuple(
        EdgeEvidence(
            caller=edge.caller,
            callee=edge.callee,
            kind=edge.kind,
            source=edge.sources[0] if edge.sources else "history",
            seen_at=at,
            confidence=edge.confidence,
        )
        for edge in graph.edges
    )


def _ticks(batch: MetricBatch, slot: int) -> Iterator[Intake]:
    """Samples of one slot of time as one input, at the time of the newest."""
    if not len(batch):
        return
    slots = batch.timestamp // slot
    cuts = [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist(), len(batch)]
    for start, stop in itertools.pairwise(cuts):
        metrics = MetricBatch(
            series_id=batch.series_id[start:stop],
            timestamp=batch.timestamp[start:stop],
            value=batch.value[start:stop],
        )
        yield Intake(now=Millis(int(batch.timestamp[stop - 1])), source="history", metrics=metrics)
