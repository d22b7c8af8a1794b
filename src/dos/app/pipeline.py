"""The hot path, top to bottom: one `Intake` in, numbered decisions out.

    ingest ─▶ topology ─▶ detect ─▶ incidents.correlate ─▶ rca ─▶ impact ─▶ alerting

`Pipeline.step` is synchronous and deterministic: its result depends on nothing but the intakes it
was given, in order. It reads no clock (`intake.now` is the time), does no I/O and draws no random
number. Live operation, virtual time and replay all call it; recovery after a crash is calling it
again with what the intake log holds beyond the last checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dos.alerting.book import AlertBook
from dos.alerting.burns import BurnAlerts
from dos.alerting.desk import Desk
from dos.alerting.escalation import Escalation
from dos.alerting.fallback import Fallbacks
from dos.alerting.rules import RuleBook
from dos.app.diagnose import Diagnosis
from dos.app.log_watch import LogWatch
from dos.compute.local import LocalHost
from dos.detect.engine import DetectKernel, EngineState
from dos.detect.feedback import FeedbackBook
from dos.detect.forecast.forecaster import Forecaster
from dos.incidents.correlate import Correlator
from dos.kit.clock import HOUR, SECOND, Millis
from dos.kit.telemetry import stage
from dos.model.anomaly import Anomaly, Findings, anomaly_of
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.events import (
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    Decisions,
    Event,
    FeedbackChanged,
    ForecastChanged,
    IncidentChanged,
    Recorded,
)
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId, SeriesId
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.intake import Intake
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import Int64Array, MetricBatch, Series
from dos.storage.base import History
from dos.topology.graph import Topology

CHANGES_KEPT = 24 * HOUR
"""Changes older than this are not candidates for a cause."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """The rooms the pipeline goes through; `wiring` puts them together."""

    registry: SeriesRegistry
    history: History
    topology: Topology
    kernel: DetectKernel
    host: LocalHost[EngineState]
    logs: LogWatch
    forecaster: Forecaster
    feedback: FeedbackBook
    correlator: Correlator
    diagnosis: Diagnosis
    book: AlertBook
    desk: Desk
    rules: RuleBook
    burns: BurnAlerts
    escalation: Escalation
    fallbacks: Fallbacks
    stale_after: float
    """Seconds without samples after which an anomaly is no longer held against its entity."""


class Pipeline:
    """One instance per process; its state is in `parts`, plus what is declared here."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.seq = 0
        """Number of the last event."""
        self.offset = 0
        """Position in the intake log after the last step."""
        self.now = Millis(0)
        """Time of the last step."""
        self.changes: deque[Change] = deque()
        """Recent changes of the watched system, oldest first."""
        self.last_sample = np.empty(0, np.int64)
        """`[series]` newest sample timestamp, ms."""

    def step(self, intake: Intake, offset: int) -> Decisions:
        """Take in one input and decide; `offset` is its position in the intake log."""
        parts, now = self.parts, intake.now
        self.now, self.offset = now, offset
        with stage("ingest"):
            self._ingest(intake)
        with stage("topology"):
            events = self._topology(intake)
            events += self._changes(intake)
            events += self._feedback(intake)
            graph = parts.topology.snapshot(now)
        with stage("detect"):
            findings = parts.host.step(intake.metrics, history=intake.history)
            events += self._anomalies(findings, now)
            events += self._logs(intake)
        with stage("forecast"):
            parts.forecaster.take(intake.metrics)
        if intake.history:
            parts.rules.learn(intake.metrics)
        else:
            parts.diagnosis.keep_books(now)
            with stage("correlate"):
                events += self._stale(now)
                changed = parts.correlator.apply(graph, now, self._muted(graph, now))
            with stage("diagnose"):
                for incident in changed:
                    events += self._follow(incident, graph, now)
                events += self._reassess(graph, now)
            with stage("alert"):
                events += self._forecasts(now)
                for said in intake.acknowledgements:
                    events += parts.book.acknowledge(said, now)
                    events += parts.desk.acknowledge(said, now)
                going_on = parts.correlator.active.values()
                raised = parts.rules.step(intake.metrics, now, going_on)
                if parts.burns.is_due(now):
                    raised += parts.burns.step(parts.diagnosis.budgets(now), now)
                events += parts.desk.take([*intake.alerts, *raised], intake.silences, now)
                events += parts.book.tick(now)
                parts.desk.in_maintenance = self._worked_on(graph, now)
                parts.desk.explained = parts.book.explained(parts.correlator.open, graph)
                events += parts.desk.tick(now)
                firing = (*parts.book.firing, *parts.desk.firing) if intake.undelivered else ()
                events += parts.fallbacks.take(intake.undelivered, firing, now)
                events += parts.escalation.follow(events, now)
                events += parts.fallbacks.follow(events, now)
        return Decisions(offset=offset, at=now, events=self._number(events, now))

    def skim(self, intakes: Sequence[Intake], offset: int) -> bool:
        """Take in what was recorded in a row, if nothing would be decided on any of it.

        For runs over the past: a block of samples is scored at once, and while nothing is abnormal
        nothing but the baseline changes. Afterwards the state is what `step` after `step` would
        have made, but that an edge which nobody sees any more is dropped by the next step.

        Args:
            intakes: In order; of the present (`history` is not set).
            offset: Position in the intake log after the last of them.

        Returns:
            False if something is open, or news beside samples came, or anything would be found:
            then nothing was changed, and `step` has to take them one by one.
        """
        parts = self.parts
        watched = not (parts.rules.is_empty and parts.burns.is_empty) or parts.logs.is_watching
        alerting = parts.book.firing or parts.desk.is_busy
        busy = parts.correlator.is_busy or alerting or watched
        news = any(
            one.history
            or one.series
            or one.entities
            or one.edges
            or one.changes
            or one.feedback
            or one.logs
            or one.alerts
            or one.silences
            or one.acknowledgements
            or one.undelivered
            for one in intakes
        )
        if busy or news:
            return False
        samples = MetricBatch.joined([one.metrics for one in intakes])
        forecasts = parts.forecaster.dump()
        if not self._nothing_runs_out(intakes) or not parts.host.step_if_quiet(samples):
            parts.forecaster.restore(forecasts)
            return False
        parts.history.append(samples)
        _keep_latest(self.last_sample, samples)
        self.now, self.offset = intakes[-1].now, offset
        parts.diagnosis.keep_books(self.now)
        if parts.feedback.expire(self.now):
            self.rescale(parts.registry.since(0))
        return True

    def begin_again(self, series: Sequence[Series]) -> None:
        """Start as one that knows `series`, in order of their ids, and nothing else of its past."""
        self._register(series)
        self.parts.topology.ensure([one.spec.entity for one in series], self.now)

    def _ingest(self, intake: Intake) -> None:
        """Learn new series and keep the samples."""
        self._register(intake.series)
        self.parts.history.append(intake.metrics)
        _keep_latest(self.last_sample, intake.metrics)

    def _register(self, series: Sequence[Series]) -> None:
        self.parts.registry.add(series)
        self.parts.host.register(series)
        self.parts.forecaster.register(series)
        self.parts.rules.register(series, self.now)
        missing = len(self.parts.registry) - len(self.last_sample)
        if missing:
            self.last_sample = np.concatenate([self.last_sample, np.zeros(missing, np.int64)])

    def _topology(self, intake: Intake) -> list[Event]:
        """Merge evidence for entities and edges into the graph."""
        topology = self.parts.topology
        changed = [
            topology.ensure([series.spec.entity for series in intake.series], intake.now),
            topology.apply(intake.entities, intake.edges, intake.now),
        ]
        return [one for one in changed if one]

    def _changes(self, intake: Intake) -> list[Event]:
        """Remember what was changed in the watched system."""
        self.changes.extend(intake.changes)
        while self.changes and self.changes[0].at < intake.now - CHANGES_KEPT:
            self.changes.popleft()
        return [ChangeSeen(change=change) for change in intake.changes]

    def _feedback(self, intake: Intake) -> list[Event]:
        """Take in what people said; series whose threshold it changes are told so."""
        book = self.parts.feedback
        taken = [one for one in intake.feedback if book.take(one)]
        for one in taken:
            if one.incident_id is not None:
                self.parts.correlator.label(one.incident_id, nothing=book.verdict(one.incident_id))
        if book.expire(intake.now) or taken:
            self.rescale(self.parts.registry.since(0))
        else:
            self.rescale(intake.series)
        return [FeedbackChanged(feedback=one) for one in taken]

    def rescale(self, series: Sequence[Series]) -> None:
        """Give `series` the thresholds that the labels about them ask for."""
        scale = self.parts.feedback.scale
        self.parts.host.adjust({one.id: scale(one.spec) for one in series})

    def _muted(self, graph: GraphSnapshot, now: Millis) -> Collection[EntityId]:
        """Abnormal entities at which work is being done."""
        active = self.parts.correlator.active
        if not active:
            return ()
        names = sorted({one.entity for one in active.values()})
        entities = [graph.entity(name) or Entity(id=name) for name in names]
        return self.parts.feedback.muted(entities, now)

    def _worked_on(self, graph: GraphSnapshot, now: Millis) -> Collection[EntityId]:
        """Services with alerts at which work is being done."""
        if not self.parts.feedback.is_maintenance(now):
            return ()
        names = sorted(self.parts.desk.services)
        return self.parts.feedback.muted(
            [graph.entity(name) or Entity(id=name) for name in names], now
        )

    def _anomalies(self, findings: Findings, now: Millis) -> list[Event]:
        """Findings become anomalies that start and end."""
        events: list[Event] = []
        for index in range(len(findings)):
            if findings.started[index]:
                events += self._begun(self._anomaly(findings, index, now))
            else:
                series_id = SeriesId(int(findings.series_id[index]))
                events += self._over(series_id, Millis(int(findings.timestamp[index])))
        return events

    def _logs(self, intake: Intake) -> list[Event]:
        """What is unusual in log lines becomes anomalies too; its scores are kept as samples."""
        seen = self.parts.logs.step(intake)
        self.parts.history.append(seen.samples)
        _keep_latest(self.last_sample, seen.samples)
        events = [event for anomaly in seen.started for event in self._begun(anomaly)]
        return events + [event for series, at in seen.ended for event in self._over(series, at)]

    def _begun(self, anomaly: Anomaly) -> list[Event]:
        """An anomaly started, or one that lasts became stronger."""
        if self.parts.correlator.worsened(anomaly):
            return []
        self.parts.correlator.started(anomaly)
        return [AnomalyStarted(anomaly=anomaly)]

    def _over(self, series: SeriesId, at: Millis) -> list[Event]:
        """An anomaly ended, if there was one."""
        ended = self.parts.correlator.ended(series, at)
        return [AnomalyEnded(anomaly=ended)] if ended else []

    def _anomaly(self, findings: Findings, index: int, now: Millis) -> Anomaly:
        series = self.parts.registry[int(findings.series_id[index])]
        detectors = self.parts.kernel.detectors
        return anomaly_of(findings, index, series, decided_at=now, detectors=detectors)

    def _stale(self, now: Millis) -> list[Event]:
        """Anomalies that no sample will end are ended here, or an incident stays open for ever."""
        limit = now - round(self.parts.stale_after * SECOND)
        correlator = self.parts.correlator
        for series in [s for s in sorted(correlator.silent) if self.last_sample[s] >= limit]:
            correlator.heard(series)
        ended: list[Anomaly | None] = [*correlator.end_orphans(now)]
        for series in [s for s in sorted(correlator.active) if self.last_sample[s] < limit]:
            self.parts.host.settle(series)  # should it come back still abnormal, it is found anew
            ended.append(correlator.silenced(series, now))
        return [AnomalyEnded(anomaly=anomaly) for anomaly in ended if anomaly]

    def _forecasts(self, now: Millis) -> list[Event]:
        """Alarms about what runs out, each with an alert of its own."""
        forecaster, book = self.parts.forecaster, self.parts.book
        events: list[Event] = []
        for forecast in forecaster.tick(now):
            events += [ForecastChanged(forecast=forecast), *book.foresee(forecast, now)]
        if book.foretells:
            events += book.withdraw(forecaster.alarms, now)
        return events

    def _nothing_runs_out(self, intakes: Sequence[Intake]) -> bool:
        """Forecast from a row of inputs; False as soon as an alarm would change."""
        forecaster = self.parts.forecaster
        for one in intakes:
            forecaster.take(one.metrics)
            if forecaster.tick(one.now):
                return False
        return True

    def _follow(self, incident: Incident, graph: GraphSnapshot, now: Millis) -> list[Event]:
        """An incident changed: find its cause and impact, and see who must be told."""
        if incident.state is IncidentState.OPEN:
            incident = self._diagnose(incident, graph, now)
            self.parts.correlator.update(incident)
        else:
            past = self.parts.correlator.past
            incident = self.parts.diagnosis.closing(incident, graph, past, now)
            if (nothing := self.parts.feedback.verdict(incident.id)) is not None:
                # It was labelled while it was open: the page budget counts what is over.
                self.parts.correlator.label(incident.id, nothing=nothing)
        return [IncidentChanged(incident=incident), *self.parts.book.observe(incident, now)]

    def _reassess(self, graph: GraphSnapshot, now: Millis) -> list[Event]:
        """Look again at open incidents: more samples tell more about cause and impact."""
        config = self.parts.diagnosis.config
        events: list[Event] = []
        for incident in self.parts.correlator.open:
            assessed_at = incident.root_cause.at if incident.root_cause else incident.opened_at
            due = now - assessed_at >= config.reassess_every * SECOND
            if not due or now - incident.opened_at > config.reassess_for * SECOND:
                continue
            fresh = self._diagnose(incident, graph, now)
            if self.parts.diagnosis.is_significant(incident, fresh):
                fresh = replace(fresh, reason=IncidentReason.REASSESSED, updated_at=now)
                self.parts.correlator.update(fresh)
                events.append(IncidentChanged(incident=fresh))
                events += self.parts.book.observe(fresh, now)
            elif incident.root_cause:
                # What people were told stays what later diagnoses are compared with, or many
                # small changes would add up to one that nobody is told.
                seen = replace(incident.root_cause, at=now)
                self.parts.correlator.update(replace(incident, root_cause=seen))
        return events

    def _diagnose(self, incident: Incident, graph: GraphSnapshot, now: Millis) -> Incident:
        anomalies = [self.parts.correlator.active[s] for s in sorted(self.parts.correlator.active)]
        past = self.parts.correlator.past
        return self.parts.diagnosis.of(incident, graph, anomalies, self.changes, past, now)

    def _number(self, events: Sequence[Event], now: Millis) -> tuple[Recorded, ...]:
        first = self.seq + 1
        self.seq += len(events)
        return tuple(
            Recorded(seq=first + index, at=now, event=event) for index, event in enumerate(events)
        )


def _keep_latest(latest: Int64Array, batch: MetricBatch) -> None:
    """Raise each series' newest timestamp."""
    np.maximum.at(latest, batch.series_id, batch.timestamp)
