"""Evidence: one sentence with numbers for each reason, with the window where it can be seen."""

from __future__ import annotations

import math

import numpy as np

from dos.kit.clock import SECOND, Millis, to_datetime
from dos.model.ids import EntityId
from dos.model.rootcause import Evidence, EvidenceKind, Stance
from dos.model.telemetry import Role
from dos.rca.case import Case
from dos.rca.measure import Measured
from dos.rca.suspicion import Suspicion, Weights

NOTABLE = math.log1p(1.5)
"""Strength from which a series is called abnormal: about four robust sigmas, for some samples."""
SHOWN_SERIES = 3
SHOWN_NAMES = 4


class Witness:
    """Collects the evidence on entities of one case."""

    def __init__(self, case: Case, measured: Measured, found: Suspicion, weights: Weights) -> None:
        self._case = case
        self._measured = measured
        self._found = found
        self._weights = weights
        self._place = {entity: i for i, entity in enumerate(found.entities)}
        self._series: dict[EntityId, list[int]] = {}
        for series, spec in enumerate(case.series):
            self._series.setdefault(spec.entity, []).append(series)

    def on(self, entity: EntityId) -> tuple[Evidence, ...]:
        """Everything that speaks for or against `entity`, weightiest first."""
        if entity not in self._place:
            return tuple(self._unmeasured(entity))
        all_of_it = [
            *self._deviations(entity),
            *self._onset(entity),
            *self._dependencies(entity),
            *self._dependents(entity),
            *self._changes(entity),
        ]
        return tuple(sorted(all_of_it, key=lambda one: -abs(one.weight)))

    def metric(self, entity: EntityId) -> str | None:
        """The metric that shows the trouble of `entity` best, if it shows any."""
        if entity not in self._place:
            return None
        series = int(self._found.best[self._place[entity]])
        shows = series >= 0 and self._found.strength[series] > 0
        return self._case.series[series].metric if shows else None

    def _unmeasured(self, entity: EntityId) -> list[Evidence]:
        """Of an entity that only the graph knows."""
        graph = self._case.graph
        users = graph.callers(entity) if graph is not None else ()
        ill = [one for one in users if one in self._place and self._notable(one)]
        text = f"nothing is measured of {entity} itself"
        found = [self._say(Stance.AGAINST, EvidenceKind.DEVIATION, text, -0.5, entity)]
        if ill:
            text = f"{len(ill)} of {len(users)} callers are abnormal: {_names(ill)}"
            weight = len(ill) / len(users)
            found.append(
                self._say(Stance.FOR, EvidenceKind.DEPENDENTS_ABNORMAL, text, weight, entity)
            )
        return sorted(found, key=lambda one: -abs(one.weight))

    def _deviations(self, entity: EntityId) -> list[Evidence]:
        strength = self._found.strength
        mine = sorted(self._series[entity], key=lambda s: (-strength[s], s))
        shown = [s for s in mine[:SHOWN_SERIES] if strength[s] >= NOTABLE]
        if not shown:
            text = f"none of the {len(mine)} series of {entity} is clearly off its normal range"
            return [self._say(Stance.AGAINST, EvidenceKind.DEVIATION, text, -1.0, entity)]
        found = []
        for s in shown:
            spec = self._case.series[s]
            resource = spec.role is Role.SATURATION
            kind = EvidenceKind.INTERNAL_SIGNAL if resource else EvidenceKind.DEVIATION
            text = movement(self._case, self._measured, s)
            found.append(
                self._say(
                    Stance.FOR,
                    kind,
                    text,
                    float(strength[s]),
                    entity,
                    metric=spec.metric,
                    start=int(self._measured.onset[s]),
                )
            )
        return found

    def _onset(self, entity: EntityId) -> list[Evidence]:
        """Earlier or later than the strongest other entity."""
        mine = self._first_notable(entity)
        others = [e for e in self._related(entity) if self._first_notable(e) is not None]
        if mine is None or not others:
            return []
        rival = max(others, key=lambda e: (self._found.score[self._place[e]], e))
        theirs = self._first_notable(rival)
        lead = ((theirs or mine) - mine) / SECOND
        step = (
            float(np.median(np.diff(self._case.times))) / SECOND if len(self._case.times) > 1 else 0
        )
        if abs(lead) < max(step, 1.0):
            return []
        stance = Stance.FOR if lead > 0 else Stance.AGAINST
        word = "before" if lead > 0 else "after"
        text = f"{entity} became abnormal at {clock_time(mine)}, {abs(lead):.0f} s {word} {rival}"
        weight = 0.5 if lead > 0 else -0.5
        return [self._say(stance, EvidenceKind.ONSET, text, weight, entity, start=mine)]

    def _dependencies(self, entity: EntityId) -> list[Evidence]:
        graph = self._case.graph
        callees = [c for c in graph.callees(entity) if c in self._place] if graph else []
        i = self._place[entity]
        by = self._found.explainer[i]
        if not callees and by is None:
            return []
        share = float(self._found.explained[i])
        if by is not None and share >= 0.3 and self._notable(by):
            whose = "its dependency" if by in callees else "what may be behind it,"
            text = f"{share:.0%} of its symptoms are explained by {whose} {by}"
            weight = -self._weights.explained * share * float(self._found.symptom[i])
            return [
                self._say(Stance.AGAINST, EvidenceKind.DEPENDENCY_ABNORMAL, text, weight, entity)
            ]
        if not callees or any(self._notable(callee) for callee in callees):
            return []
        text = f"its own dependencies stayed normal: {_names(callees)}"
        return [self._say(Stance.FOR, EvidenceKind.DEPENDENCIES_NORMAL, text, 0.5, entity)]

    def _dependents(self, entity: EntityId) -> list[Evidence]:
        graph = self._case.graph
        callers = [c for c in graph.callers(entity) if c in self._place] if graph else []
        symptomatic = [c for c in callers if self._found.symptom[self._place[c]] >= NOTABLE]
        if not symptomatic:
            return []
        text = f"{len(symptomatic)} of {len(callers)} callers show symptoms: {_names(symptomatic)}"
        i = self._place[entity]
        weight = self._weights.dependents * float(self._found.dependents[i])
        return [self._say(Stance.FOR, EvidenceKind.DEPENDENTS_ABNORMAL, text, weight, entity)]

    def _changes(self, entity: EntityId) -> list[Evidence]:
        index = self._found.changed[self._place[entity]]
        if index is None:
            return []
        change = self._case.changes[index]
        lead = (self._found.onset - change.at) / SECOND
        when = f"{lead:.0f} s before" if lead >= 0 else f"{-lead:.0f} s after"
        summary = f" ({change.summary})" if change.summary else ""
        text = f"{change.kind}{summary} at {clock_time(change.at)}, {when} the trouble began"
        return [
            self._say(
                Stance.FOR, EvidenceKind.CHANGE, text, self._weights.change, entity, start=change.at
            )
        ]

    def _notable(self, entity: EntityId) -> bool:
        i = self._place[entity]
        return bool(max(self._found.symptom[i], self._found.resource[i]) >= NOTABLE)

    def _first_notable(self, entity: EntityId) -> int | None:
        s = int(self._found.best[self._place[entity]])
        return (
            int(self._measured.onset[s]) if s >= 0 and self._found.strength[s] >= NOTABLE else None
        )

    def _related(self, entity: EntityId) -> list[EntityId]:
        if self._case.graph is None:
            return [e for e in self._place if e != entity]
        return [e for e in self._case.graph.neighbours(entity) if e in self._place and e != entity]

    def _say(
        self,
        stance: Stance,
        kind: EvidenceKind,
        text: str,
        weight: float,
        entity: EntityId,
        *,
        metric: str | None = None,
        start: int | None = None,
    ) -> Evidence:
        return Evidence(
            stance=stance,
            kind=kind,
            text=text,
            weight=round(weight, 6),
            entity=entity,
            metric=metric,
            start=Millis(self._found.onset if start is None else start),
            end=self._case.end,
        )


def movement(case: Case, measured: Measured, s: int) -> str:
    """What series `s` did: `latency_p95 rose 9.1× (0.12 s → 1.1 s, 31 sigmas) at 14:31:20`."""
    spec = case.series[s]
    before, after = float(measured.center[s]), float(measured.observed[s])
    verb = "rose" if measured.deviation[s] >= 0 else "fell"
    times = ""
    if before > 0 and after > 0:
        ratio = max(before, after) / min(before, after)
        times = f" {ratio:.3g}×" if ratio >= 1.1 else ""
    change = f"{quantity(before, spec.unit)} → {quantity(after, spec.unit)}"
    return (
        f"{spec.metric} {verb}{times} ({change}, {abs(measured.deviation[s]):.3g} sigmas) "
        f"at {clock_time(int(measured.onset[s]))}"
    )


def quantity(value: float, unit: str) -> str:
    """A value for people: `0.12 s`, `31 %`, `512 MiB`."""
    if not math.isfinite(value):
        return "no data"
    if unit == "seconds":
        return f"{value:.3g} s" if abs(value) >= 0.1 or value == 0 else f"{value * 1000:.3g} ms"
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if abs(value) >= 1 << power:
                return f"{value / (1 << power):.3g} {name}"
        return f"{value:.3g} B"
    if unit == "1/s":
        return f"{value:.3g}/s"
    return f"{value:.4g}" + (f" {unit}" if unit else "")


def clock_time(at: int) -> str:
    """`14:31:20` in UTC."""
    return to_datetime(Millis(at)).strftime("%H:%M:%S")


def _names(entities: list[EntityId]) -> str:
    more = len(entities) - SHOWN_NAMES
    return ", ".join(entities[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
