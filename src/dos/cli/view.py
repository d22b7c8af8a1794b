"""The live view: a full screen on a terminal, otherwise one plain line per event.

Both show a `ViewState` that somebody else puts together; neither keeps more than it needs to
tell what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from dos.app.demo_types import DemoView, Notice, TruthNote, ViewState
from dos.cli.output import plain
from dos.cli.view_format import clock, lasting
from dos.cli.view_screen import Screen, truth_text
from dos.ingest.base import SourceHealth
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId, IncidentId
from dos.model.incident import Incident, IncidentState


class TerminalView:
    """Fills the terminal's alternate screen, which is restored at the end.

    Use as a context manager. Not thread-safe: the event loop that updates it also draws it.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, state: ViewState) -> None:
        """Draw `state` in place of the one before."""
        self._live.update(Screen(state), refresh=True)


class LineView:
    """Prints `14:31:15 INCIDENT inc-… opened: …` for each thing that happens, once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._incidents: dict[IncidentId, tuple[IncidentState, EntityId | None]] = {}
        self._notices: set[Notice] = set()
        self._sources: dict[str, SourceHealth] = {}
        self._truths: dict[tuple[Millis, EntityId], TruthNote] = {}

    def update(self, state: ViewState) -> None:
        """Print what is new since the last update."""
        if state.phase and state.phase != self._phase:
            self._phase = state.phase
            address = f", API on {state.address}" if state.address else ""
            self._say(state.now, "PHASE", f"{state.phase}{address}")
        for truth in state.truths:
            if (truth.started_at, truth.target) not in self._truths:
                self._say(truth.started_at, "INJECTED", f"{truth.fault} in {truth.target}")
        for source in state.sources:
            before = self._sources.get(source.name, SourceHealth.STARTING)
            self._sources[source.name] = source.health
            if source.health is not before:
                error = f": {source.error}" if source.error else ""
                self._say(state.now, "SOURCE", f"{source.name} {source.health.value}{error}")
        for incident in sorted(state.incidents, key=lambda one: one.opened_at):
            self._incident(incident)
        for notice in state.notices:
            if notice not in self._notices:
                self._say(notice.at, "ALERT", f"{notice.kind.value}: {notice.text}")
        self._notices = set(state.notices)
        for truth in state.truths:
            self._truth(state, truth)

    def _say(self, at: Millis, topic: str, text: str) -> None:
        self._console.print(f"{clock(at)} {topic} {plain(text)}", markup=False, emoji=False)

    def _truth(self, state: ViewState, truth: TruthNote) -> None:
        key = (truth.started_at, truth.target)
        before = self._truths.get(key)
        self._truths[key] = truth
        if truth.found_after is not None and (before is None or before.found_after is None):
            self._say(state.now, "FOUND", truth_text(truth))
        if truth.ended_at is not None and (before is None or before.ended_at is None):
            self._say(truth.ended_at, "CLEARED", f"{truth.fault} in {truth.target} is over")

    def _incident(self, incident: Incident) -> None:
        top = incident.root_cause.top if incident.root_cause else None
        now = (incident.state, top.entity if top else None)
        before = self._incidents.get(incident.id)
        self._incidents[incident.id] = now
        if before is None:
            severity = f" {incident.impact.severity.value}" if incident.impact else ""
            opened = f"{incident.id} opened:{severity} {incident.title}"
            self._say(incident.opened_at, "INCIDENT", opened)
        if top is not None and (before is None or before[1] != top.entity):
            why = f" ({top.evidence[0].text})" if top.evidence else ""
            cause = f"{incident.id} cause: {top.probability:.0%} {top.entity}{why}"
            self._say(incident.updated_at, "INCIDENT", cause)
        resolved = incident.state is IncidentState.RESOLVED
        if resolved and (before is None or before[0] is not IncidentState.RESOLVED):
            ended = incident.resolved_at if incident.resolved_at is not None else (
                incident.updated_at
            )  # fmt: skip
            lasted = lasting((ended - incident.began_at) / SECOND)
            what = f"{incident.id} resolved: {incident.reason.value} after {lasted}"
            self._say(ended, "INCIDENT", what)


@contextmanager
def open_view(console: Console) -> Iterator[DemoView]:
    """The view that suits the console."""
    if console.is_terminal and not console.is_dumb_terminal:
        with TerminalView(console) as view:
            yield view
    else:
        # Neither colours nor wrapping: these lines go to files and pipes.
        yield LineView(
            Console(file=console.file, force_terminal=False, color_system=None, soft_wrap=True)
        )
