"""A model that runs beside the live one, without effect: what it would have decided is kept.

The shadow is a pipeline of its own, built by the same wiring from the live settings with another
`detect` section, and is given every input after the live pipeline has decided on it. It looks back
on the live pipeline's samples instead of keeping its own, begins with what those recent samples
teach, and tells nobody anything. Trouble in it ends it and is reported; the live pipeline does not
notice.

::

    models/<name>/shadow.jsonl     its incidents and alerts, one canonical JSON object a line
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.learn import learn_recent
from dos.app.pipeline import Pipeline
from dos.app.settings import Settings
from dos.kit import log
from dos.kit.clock import Millis
from dos.model.alert import AlertState
from dos.model.candidate import ShadowPage, ShadowStatus
from dos.model.events import (
    AlertChanged,
    AnomalyStarted,
    Decisions,
    IncidentChanged,
    Recorded,
)
from dos.model.ids import IncidentId, SeriesId
from dos.model.incident import Incident
from dos.model.intake import Intake
from dos.model.telemetry import MetricBatch
from dos.storage.base import History, Window

_logger = log.get("app")
_SHOWN = 200
"""Pages of each side that are remembered."""
_TOGETHER = 600_000
"""Pages this close in time that share an entity are the same one, ms."""


class _Lent:
    """The live pipeline's samples, to look back on; keeps nothing itself."""

    def __init__(self, history: History) -> None:
        self._history = history

    @property
    def resolution(self) -> int:
        """Width of a time slot."""
        return self._history.resolution

    def append(self, batch: MetricBatch) -> None:
        """The live pipeline has kept them."""

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of the live history."""
        return self._history.window(series, start, end)


@dataclass(slots=True)
class _Side:
    """What one of the two decided."""

    anomalies: int = 0
    told: set[IncidentId] = field(default_factory=set)
    pages: deque[ShadowPage] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    latest: dict[IncidentId, Incident] = field(default_factory=dict)
    """Open incidents."""

    def follow(self, decisions: Decisions, *, by_shadow: bool) -> None:
        for one in decisions.events:
            match one.event:
                case AnomalyStarted():
                    self.anomalies += 1
                case IncidentChanged(incident=incident):
                    self.latest[incident.id] = incident
                case AlertChanged(alert=alert):
                    # Alerts and not notifications: those depend on who is configured to be told.
                    incident_id = alert.incident_id
                    firing = alert.state is AlertState.FIRING
                    if incident_id is None or incident_id in self.told or not firing:
                        continue
                    if incident_id in self.latest:
                        self.told.add(incident_id)
                        self._page(self.latest[incident_id], one.at, by_shadow=by_shadow)
                case _:
                    pass
        self._forget()

    def _page(self, about: Incident, at: Millis, *, by_shadow: bool) -> None:
        page = ShadowPage(
            at=at,
            incident=about.id,
            title=about.title,
            entities=about.entities,
            by_shadow=by_shadow,
        )
        self.pages.append(page)

    def _forget(self) -> None:
        over = [key for key, one in self.latest.items() if one.resolved_at is not None]
        for key in over:
            del self.latest[key]
            self.told.discard(key)


class Shadow:
    """One candidate beside the live pipeline. Used under the runner's lock, but for `status`.

    Args:
        name: Of the candidate.
        settings: The live ones, with the candidate's `detect` section.
        live: The pipeline that decides; its recent samples are learned from at once.
        receivers: Who would be told.
        directory: Where its decisions are written; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        live: Pipeline,
        receivers: Sequence[Receiver],
        directory: Path | None,
    ) -> None:
        self.name = name
        self._live, self._shadow = _Side(), _Side()
        self._inputs = 0
        self._failure: str | None = None
        self._file = directory / "shadow.jsonl" if directory else None
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        lent = _Lent(live.parts.history)
        self._pipeline = wiring.build_pipeline(settings, lent, receivers)
        self._since = live.now
        self._begin(live)

    def follow(self, intake: Intake, decisions: Decisions) -> None:
        """Take in what the live pipeline has just decided on."""
        if self._failure is not None:
            return
        try:
            decided = self._pipeline.step(intake, decisions.offset)
            self._write(decided.events)
        except Exception as error:  # supervision boundary: only the shadow ends
            self._failure = f"{type(error).__name__}: {error}"
            _logger.warning("shadow ended", model=self.name, reason=self._failure, exc_info=True)
            return
        self._inputs += 1
        self._live.follow(decisions, by_shadow=False)
        self._shadow.follow(decided, by_shadow=True)

    def status(self) -> ShadowStatus:
        """What it has decided so far, beside what the live one has."""
        live, shadow = list(self._live.pages), list(self._shadow.pages)
        both = [one for one in shadow if any(_same(one, other) for other in live)]
        only_live = [one for one in live if not any(_same(one, other) for other in shadow)]
        pages = sorted([*live, *shadow], key=lambda one: (one.at, one.by_shadow, one.incident))
        return ShadowStatus(
            name=self.name,
            since=self._since,
            inputs=self._inputs,
            anomalies=self._shadow.anomalies,
            live_anomalies=self._live.anomalies,
            pages=tuple(pages[-_SHOWN:]),
            both=len(both),
            only_shadow=len(shadow) - len(both),
            only_live=len(only_live),
            failure=self._failure,
        )

    def _begin(self, live: Pipeline) -> None:
        """Know what the live pipeline knows of the system, and learn from its recent samples."""
        pipeline, parts = self._pipeline, live.parts
        pipeline.now = live.now
        # The registry may know series whose first input is still to be taken in.
        series = list(parts.registry.since(0))[: len(parts.host)]
        pipeline.begin_again(series)
        pipeline.parts.topology.load(parts.topology.dump())
        pipeline.parts.feedback.load(parts.feedback.dump())
        pipeline.rescale(series)
        pipeline.changes.extend(live.changes)
        learn_recent(pipeline, live.now)

    def _write(self, events: Sequence[Recorded]) -> None:
        kept = [e for e in events if isinstance(e.event, IncidentChanged | AlertChanged)]
        if kept and self._file is not None:
            with self._file.open("ab") as file:
                file.write(b"".join(one.to_json() + b"\n" for one in kept))


def _same(one: ShadowPage, other: ShadowPage) -> bool:
    near = abs(one.at - other.at) <= _TOGETHER
    return near and not set(one.entities).isdisjoint(other.entities)
