"""A stored incident as a case again, asked of the running DOS over its API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from dos.app.ranking_case import ListedSeries, Surroundings, candidates, ranking_case
from dos.app.recall import Recalled, abnormal_at, as_of, past_of, ranked_at
from dos.app.settings import Settings
from dos.cli.client import asking
from dos.kit.clock import DAY, SECOND, Millis, from_rfc3339, to_rfc3339
from dos.kit.errors import PermanentError
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import IncidentId, SeriesId
from dos.model.incident import Incident
from dos.model.rootcause import RootCause
from dos.model.telemetry import Series, SeriesSpec
from dos.storage.base import Window

_TIME = re.compile(r"at|onset|start|end|\w+_at|first_seen|last_seen")
"""Keys of the API whose values are times."""
_PAGE = "1000"
_CAUSE = TypeAdapter(RootCause)
_CHANGE = TypeAdapter(Change)
_EDGE = TypeAdapter(Edge)
_ENTITY = TypeAdapter(Entity)
_SPEC = TypeAdapter(SeriesSpec)


def recall_from(
    url: str | None,
    config: Path | None,
    settings: Settings,
    incident_id: IncidentId,
    until: Millis | None = None,
) -> Recalled:
    """The case of an incident, as it was when it was last ranked.

    Args:
        url: Of the running DOS; None: as configured.
        config: Configuration file; for the token and the address.
        settings: What is in it; how far to look.
        incident_id: The incident.
        until: What was known then, instead.

    Raises:
        PermanentError: There is no such incident, or no samples of its time.
        TransientError: DOS does not answer.
    """
    with asking(url, config) as request:

        def get(path: str, **params: str) -> Any:
            return request("GET", f"/api/v1/{path}", params, None)

        incident = _incident(get(f"incidents/{incident_id}"))
        now = until or ranked_at(incident)
        around, anomalies = _around(get, incident, now, settings)
        then = as_of(incident, anomalies, now)
        near = candidates(then, around.graph, settings.rca)
        table = ListedSeries(
            one for entity in near for one in _series(_pages(get, "series", entity=entity))
        )
        case = ranking_case(
            then, around, now, scope=settings.rca, table=table, samples=_Asked(get, settings)
        )
    if not len(case.times):
        msg = f"The running DOS keeps no samples of the time of {incident_id} at hand any more."
        raise PermanentError(msg, remedy="Its long history may: leave out --server.")
    return Recalled(incident=incident, case=case)


def _around(
    get: Callable[..., Any], incident: Incident, now: Millis, settings: Settings
) -> tuple[Surroundings, Sequence[Anomaly]]:
    """What was known at `now`, and the anomalies by which it is known."""
    first = Millis(max(0, incident.began_at - round(settings.rca.baseline * SECOND)))
    window = {"since": to_rfc3339(first), "until": to_rfc3339(now), "limit": _PAGE}
    day = {**window, "since": to_rfc3339(Millis(max(0, now - DAY)))}
    changes = [_CHANGE.validate_python(_times(one)) for one in get("changes", **day)["items"]]
    anomalies = [_anomaly(one) for one in get("anomalies", **window)["items"]]
    others = [_incident(one) for one in _pages(get, "incidents", **window)]
    around = Surroundings(
        graph=_graph(get("graph", at=to_rfc3339(now))),
        abnormal=abnormal_at(anomalies, now),
        changes=tuple(reversed(changes)),
        past=past_of(others, incident, now),
    )
    return around, anomalies


def _pages(get: Callable[..., Any], path: str, **params: str) -> Iterable[Any]:
    """Everything of a listing that comes in pages."""
    params = {"limit": _PAGE, **params}
    while True:
        page = get(path, **params)
        yield from page["items"]
        if page["next"] is None:
            return
        params["cursor"] = page["next"]


def _incident(answer: Any) -> Incident:
    """From the detail or a row of the list; without its impact."""
    shown = _times(answer)
    cause = shown.get("root_cause")
    return Incident(
        id=IncidentId(shown["id"]),
        state=shown["state"],
        reason=shown["reason"],
        began_at=shown["began_at"],
        opened_at=shown["opened_at"],
        updated_at=shown["updated_at"],
        resolved_at=shown["resolved_at"],
        title=shown["title"],
        entities=tuple(shown["entities"]),
        anomalies=tuple(shown.get("anomalies", ())),
        root_cause=None if cause is None else _CAUSE.validate_python(cause),
    )


def _anomaly(answer: Any) -> Anomaly:
    """With NaN where the API says null."""
    numbers = ("deviation", "score", "observed", "expected", "lower", "upper")
    shown = {**_times(answer)}
    known = {key: np.nan if shown[key] is None else shown[key] for key in numbers}
    return TypeAdapter(Anomaly).validate_python({**shown, **known})


def _graph(answer: Any) -> GraphSnapshot:
    shown = _times(answer)
    return GraphSnapshot(
        version=shown["version"],
        at=shown["at"],
        entities=tuple(
            _ENTITY.validate_python({**one, "attributes": sorted(one["attributes"].items())})
            for one in shown["entities"]
        ),
        edges=tuple(_EDGE.validate_python(one) for one in shown["edges"]),
    )


def _series(answer: Iterable[Any]) -> Iterable[Series]:
    for one in answer:
        spec = _SPEC.validate_python({**one, "labels": sorted(one["labels"].items())})
        yield Series(id=SeriesId(one["id"]), spec=spec)


class _Asked:
    """Windows over the API, one request a series."""

    def __init__(self, get: Callable[..., Any], settings: Settings) -> None:
        self._get = get
        self._step = f"{settings.history.resolution:g}s"

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of `series` in `[start, end]` on the grid of the recent samples."""
        params = {"start": to_rfc3339(start), "end": to_rfc3339(end), "step": self._step}
        columns: list[dict[int, float]] = []
        for one in series:
            shown = self._get(f"series/{one}/samples", **params)
            pairs = zip(shown["times"], shown["values"], strict=True)
            columns.append({from_rfc3339(at): value for at, value in pairs if value is not None})
        times = sorted({at for column in columns for at in column})
        place = {at: row for row, at in enumerate(times)}
        values = np.full((len(times), len(series)), np.nan, np.float32)
        for position, column in enumerate(columns):
            values[[place[at] for at in column], position] = list(column.values())
        return Window(times=np.array(times, np.int64), values=values)


def _times(answer: Any) -> Any:
    """The same with times in milliseconds."""
    if isinstance(answer, list):
        return [_times(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: from_rfc3339(value)
        if isinstance(value, str) and _TIME.fullmatch(key)
        else _times(value)
        for key, value in answer.items()
    }
