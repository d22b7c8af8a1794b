"""A stored incident as a case again: from the database and the long history of a data directory.

Works beside the running DOS, since it only reads; the newest minutes may not be written yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dos.app import wiring
from dos.app.ranking_case import ListedSeries, Surroundings, ranking_case
from dos.app.settings import Settings
from dos.kit.clock import DAY, SECOND, Millis
from dos.kit.errors import PermanentError
from dos.model.anomaly import Anomaly
from dos.model.ids import EntityId, IncidentId, SeriesId
from dos.model.incident import Incident
from dos.model.telemetry import MetricBatch
from dos.rca.case import Case
from dos.storage.base import LongHistory, Store, Window

_MOST = 10_000
"""Changes, anomalies and earlier incidents that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recalled:
    """An incident and the case that was made of it."""

    incident: Incident
    case: Case


async def recall(
    settings: Settings, incident_id: IncidentId, until: Millis | None = None
) -> Recalled:
    """The case of an incident, as it was when it was last ranked.

    Args:
        settings: Where the data lies, and how far was looked.
        incident_id: The incident.
        until: What was known then, instead.

    Raises:
        PermanentError: There is no such incident, or no samples of its time.
        CorruptDataError: A file of the history is damaged; names it.
    """
    directory = wiring.data_directory(settings)
    if directory is None or not (directory / "history").is_dir():
        where = directory or "this configuration"
        msg = f"There is no history in {where}."
        raise PermanentError(
            msg, remedy="Name the configuration of DOS with --config, or --server."
        )
    store = wiring.open_store(settings)
    await store.open()
    try:
        incident = await store.incident(incident_id)
        if incident is None:
            raise PermanentError(f"There is no incident {incident_id!r} in {directory}.")
        now = until or ranked_at(incident)
        around, anomalies = await _around(store, incident, now, settings)
    finally:
        await store.close()
    long = wiring.open_long_history(directory)
    slot = round(settings.history.resolution * SECOND)
    case = ranking_case(
        as_of(incident, anomalies, now),
        around,
        now,
        scope=settings.rca,
        table=ListedSeries(long.series()),
        samples=_Kept(long, slot),
    )
    if not len(case.times):
        msg = f"No samples are kept of the time of {incident_id}."
        remedy = (
            "The newest minutes are still with the running DOS: ask it with --server. What is "
            "older than history.segments.retention is gone."
        )
        raise PermanentError(msg, remedy=remedy)
    return Recalled(incident=incident, case=case)


def ranked_at(incident: Incident) -> Millis:
    """When its cause was last told; where it never was, when it last changed."""
    return incident.root_cause.at if incident.root_cause is not None else incident.updated_at


def abnormal_at(anomalies: Sequence[Anomaly], now: Millis) -> frozenset[EntityId]:
    """Entities with an anomaly that was known and lasted at `now`."""
    return frozenset(
        one.entity
        for one in anomalies
        if one.decided_at <= now and (one.ended_at is None or one.ended_at > now)
    )


def as_of(incident: Incident, anomalies: Sequence[Anomaly], now: Millis) -> Incident:
    """`incident` with those of its entities that were known to be abnormal at `now`."""
    mine = set(incident.anomalies)
    known = {one.entity for one in anomalies if one.id in mine and one.decided_at <= now}
    entities = tuple(one for one in incident.entities if one in known)
    return replace(incident, entities=entities) if entities else incident


def past_of(
    incidents: Sequence[Incident], incident: Incident, now: Millis
) -> list[tuple[Millis, Millis]]:
    """When other incidents began and ended, of those that were over at `now`."""
    return [
        (one.began_at, one.resolved_at)
        for one in incidents
        if one.id != incident.id and one.resolved_at is not None and one.resolved_at <= now
    ]


async def _around(
    store: Store, incident: Incident, now: Millis, settings: Settings
) -> tuple[Surroundings, Sequence[Anomaly]]:
    """What was known at `now`, and the anomalies by which it is known."""
    first = Millis(max(0, incident.began_at - round(settings.rca.baseline * SECOND)))
    since = Millis(max(0, now - DAY))
    changes = await store.changes(since=since, until=now, limit=_MOST)
    anomalies = await store.anomalies(since=first, until=now, limit=_MOST)
    incidents = await store.incidents(since=first, until=now, limit=_MOST)
    around = Surroundings(
        graph=await store.graph(now),
        abnormal=abnormal_at(anomalies, now),
        changes=tuple(reversed(changes)),
        past=past_of(incidents, incident, now),
    )
    return around, anomalies


class _Kept:
    """Windows from the long history, on the grid on which recent samples are kept."""

    def __init__(self, long: LongHistory, slot: int) -> None:
        self._long = long
        self._slot = slot

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of `series` in `[start, end]`; the last one in a slot counts."""
        first = start // self._slot
        batch = self._long.read(series, Millis(first * self._slot), end)
        return on_grid(batch, series, first, self._slot)


def on_grid(batch: MetricBatch, series: Sequence[SeriesId], first: int, slot: int) -> Window:
    """Samples as a table.

    Args:
        batch: The samples, those of a series in order of time.
        series: Columns of the table.
        first: Slot of the first row.
        slot: Width of a row, ms.
    """
    slots = batch.timestamp // slot - first
    count = int(slots.max()) + 1 if len(batch) else 0
    values = np.full((count, len(series)), np.nan, np.float32)
    ids = np.asarray(series, np.int64)
    order = np.argsort(ids)
    column = order[np.searchsorted(ids[order], batch.series_id)] if len(batch) else ids[:0]
    values[slots, column] = batch.value
    times = (first + np.arange(count, dtype=np.int64)) * slot
    return Window(times=times, values=values)
