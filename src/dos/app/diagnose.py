"""From an open incident to its probable cause and impact: case, ranking, blast radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.app.ranking_case import Surroundings, ranking_case
from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.ledger import BUCKET, Ledger
from dos.impact.signals import Telemetry
from dos.impact.slo import status_of
from dos.kit import log
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import SloStatus
from dos.model.incident import Incident
from dos.model.registry import SeriesRegistry
from dos.model.rootcause import Evidence, EvidenceKind, Hypothesis, RootCause, Stance
from dos.model.telemetry import Role
from dos.rca.base import Ranker
from dos.rca.case import Case
from dos.storage.base import History

_logger = log.get("app")


class DiagnosisConfig(BaseModel):
    """How much of the past and of the graph is looked at for the cause of an incident."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    baseline: Duration = 3600.0
    """History before the incident that says what was normal."""
    reach: int = Field(default=2, ge=0, le=10)
    """Entities this many calls around the abnormal ones are candidates too."""
    max_entities: int = Field(default=200, ge=1, le=10_000)
    """Candidates at most, nearest first."""
    reassess_every: Duration = 15.0
    """While an incident is open, its cause and impact are computed anew this often."""
    reassess_for: Duration = 900.0
    """Until it has been open for this long."""
    significant: float = Field(default=0.1, gt=0, le=1)
    """A change of a probability smaller than this is not worth an update."""


@dataclass(slots=True, kw_only=True)
class Diagnosis:
    """Ranks causes and assesses impact of incidents, from samples and graph."""

    config: DiagnosisConfig
    impact: ImpactAnalyzer
    ledger: Ledger
    """What was spent of error budgets before the samples at hand."""
    ranker: Ranker
    registry: SeriesRegistry
    history: History

    def of(
        self,
        incident: Incident,
        graph: GraphSnapshot,
        anomalies: Sequence[Anomaly],
        changes: Sequence[Change],
        past: Sequence[tuple[Millis, Millis]],
        now: Millis,
    ) -> Incident:
        """`incident` with root cause and impact as known at `now`.

        Args:
            incident: As the correlator sees it.
            graph: The dependency graph now.
            anomalies: All active ones, of this incident and others.
            changes: Recent changes of the watched system, oldest first.
            past: When earlier incidents began and ended; what was then is not normal.
            now: The pipeline's time.
        """
        abnormal = frozenset(anomaly.entity for anomaly in anomalies)
        cause = self._rank(self._case(incident, graph, abnormal, changes, past, now))
        root = cause.top.entity if cause.top else None
        mine = [one for one in anomalies if one.entity in incident.entities]
        impact = self.impact.assess(
            incident.entities,
            root,
            graph,
            mine,
            telemetry=self._requests(
                self.impact.entities_to_read(incident.entities, graph), incident, past, now
            ),
            spent=self.ledger.spent(),
            before=incident.impact,
        )
        cause = replace(cause, ranked=tuple(_with_lines(one, mine, now) for one in cause.ranked))
        title = f"{root}: probable cause of trouble" if root else incident.title
        troubled = sum(one.abnormal for one in impact.affected)
        if root and troubled > 1:
            title = f"{root}: probable cause of trouble in {troubled} services"
        return replace(incident, root_cause=cause, impact=impact, title=title)

    def closing(
        self,
        incident: Incident,
        graph: GraphSnapshot,
        past: Sequence[tuple[Millis, Millis]],
        now: Millis,
    ) -> Incident:
        """`incident`, which is over, with what it has cost in the end."""
        if incident.impact is None:
            return incident
        entities = self.impact.entities_to_read(incident.entities, graph)
        final = self.impact.tally(
            incident.impact,
            graph,
            telemetry=self._requests(entities, incident, past, now),
            spent=self.ledger.spent(),
        )
        return replace(incident, impact=final)

    def keep_books(self, now: Millis) -> None:
        """Write down what was spent of error budgets. Cost: O(1) where there are none."""
        self.ledger.advance(now, self._read)

    def budgets(self, now: Millis) -> list[SloStatus]:
        """How the error budget of each objective stands."""
        config, spent = self.impact.config, self.ledger.spent()
        start = Millis(now - 3 * BUCKET)  # the ledger knows what was before
        return [
            status_of(
                slo,
                config.burn_rates,
                self._read(EntityId(slo.entity), start, now),
                spent.get(slo.title),
            )
            for slo in config.slos
        ]

    def is_significant(self, before: Incident, after: Incident) -> bool:
        """Whether people should see the difference between two diagnoses."""
        old, new = before.root_cause, after.root_cause
        if old is None or new is None or before.impact is None or after.impact is None:
            return True
        if before.impact.severity is not after.impact.severity:
            return True
        if after.impact.is_clearly_worse(before.impact):
            return True
        return _leader(old) != _leader(new) or self._moved(old, new)

    def _rank(self, case: Case) -> RootCause:
        """The ranker's answer; a ranker that fails must not keep anybody from being alerted."""
        try:
            return self.ranker.rank(case)
        except Exception as error:
            _logger.exception("ranker failed", error=repr(error))
            return RootCause(ranked=(), unknown=1.0, method="failed", at=case.end, onset=case.start)

    def _moved(self, old: RootCause, new: RootCause) -> bool:
        was = old.ranked[0].probability if old.ranked else 0.0
        now = new.ranked[0].probability if new.ranked else 0.0
        return abs(was - now) >= self.config.significant

    def _case(
        self,
        incident: Incident,
        graph: GraphSnapshot,
        abnormal: frozenset[EntityId],
        changes: Sequence[Change],
        past: Sequence[tuple[Millis, Millis]],
        now: Millis,
    ) -> Case:
        around = Surroundings(graph=graph, abnormal=abnormal, changes=changes, past=past)
        return ranking_case(
            incident,
            around,
            now,
            scope=self.config,
            table=self.registry,
            samples=self.history,
        )

    def _requests(
        self,
        entities: Sequence[EntityId],
        incident: Incident,
        past: Sequence[tuple[Millis, Millis]],
        now: Millis,
    ) -> Telemetry:
        """What `entities` say of their requests, since before the incident."""
        began = incident.began_at
        before = Millis(began - round(self.config.baseline * SECOND))
        return self._window(entities, before, now, began=began, past=past)

    def _read(self, entity: EntityId, start: Millis, end: Millis) -> Telemetry:
        return self._window([entity], start, end, began=end)

    def _window(
        self,
        entities: Sequence[EntityId],
        start: Millis,
        end: Millis,
        *,
        began: Millis,
        past: Sequence[tuple[Millis, Millis]] = (),
    ) -> Telemetry:
        told = {Role.TRAFFIC, Role.ERRORS, Role.LATENCY}
        ids = [
            series
            for entity in entities
            for series in self.registry.of_entity(entity)
            if self.registry[series].spec.role in told
        ]
        window = self.history.window(ids, start, end)
        usable = ~np.isnan(window.values).all(axis=1)
        slot = self.history.resolution  # a sample is kept under the begin of its slot
        return Telemetry(
            times=window.times[usable],
            values=window.values[usable].astype(np.float64),
            series=tuple(self.registry[series].spec for series in ids),
            start=Millis(began // slot * slot),
            end=end,
            past=tuple(past),
        )


def _with_lines(hypothesis: Hypothesis, anomalies: Sequence[Anomaly], now: Millis) -> Hypothesis:
    """`hypothesis` with what its entity wrote, for people: the ranker has seen how rare it is."""
    said = tuple(
        Evidence(
            stance=Stance.FOR,
            kind=EvidenceKind.LOG,
            text=one.detail,
            weight=0.0,
            entity=one.entity,
            metric=one.metric,
            start=one.started_at,
            end=now,
        )
        for one in anomalies
        if one.detail and one.entity == hypothesis.entity
    )
    return replace(hypothesis, evidence=(*hypothesis.evidence, *said)) if said else hypothesis


def _leader(cause: RootCause) -> EntityId | None:
    return cause.top.entity if cause.top else None
