"""What is new after a tick: faults, whom they reach, alarms, changes, actions, restarts, scaling.

The narration tells these, the lifecycle of an incident is made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Int64Array, SampleFrame
from dos.simulate.actions import Performed
from dos.simulate.engine import WATCHED_SECONDS, Simulation, Truth
from dos.simulate.faults import FaultType
from dos.simulate.flow import Flow
from dos.simulate.kinds.monitoring import garbled

HIGH_CPU, HIGH_ERRORS = 0.8, 0.1
"""Ratios above which the plain monitoring of the original sketch raises its alarm."""
RAISED_AFTER, DROPPED_AFTER = 3, 10
"""Ticks in a row above the threshold until an alarm is raised, and below until it is over."""
_ALARMS = (
    ("cpu_usage", HIGH_CPU, "High CPU in {entity}: {value:.0%}"),
    ("error_rate", HIGH_ERRORS, "High error rate in {entity}: {value:.1%}"),
)


class HappeningKind(StrEnum):
    """What can happen."""

    BEGAN = "began"
    """A fault was triggered."""
    REACHED = "reached"
    """A service looks different for it, to users or operators."""
    ALARM = "alarm"
    """A metric stays over a fixed threshold; said once, until it was below for a while."""
    CHANGE = "change"
    """People changed something."""
    ACTION = "action"
    """A remediation was taken."""
    OUTCOME = "outcome"
    """What came of it."""
    RESTART = "restart"
    """The kernel killed a replica that was out of memory."""
    SCALED = "scaled"
    """The autoscaler wants more replicas, or fewer."""
    RECOVERING = "recovering"
    """The cause of a fault is gone; what is left of it goes."""
    ENDED = "ended"
    """Nothing of a fault is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened in a tick."""

    at: Millis
    kind: HappeningKind
    text: str
    entity: EntityId | None = None
    fault: str | None = None
    """Id of the fault it is about, where it is about one."""


class _Alarm:
    """A threshold over several series, raised and dropped after so many ticks in a row."""

    def __init__(self, count: int) -> None:
        self._above: Int64Array = np.zeros(count, np.int64)
        self._below: Int64Array = np.zeros(count, np.int64)
        self._raised: BoolArray = np.zeros(count, np.bool_)

    def update(self, high: BoolArray) -> BoolArray:
        """Whether each series raises it with this tick, given which are above now."""
        self._above = np.where(high, self._above + 1, 0)
        self._below = np.where(high, 0, self._below + 1)
        new: BoolArray = ~self._raised & (self._above >= RAISED_AFTER)
        self._raised = (self._raised | new) & (self._below < DROPPED_AFTER)
        return new


class Observer:
    """Finds what is new after each tick of `simulation`; asked after every one."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        _, self._changes = simulation.operations.since(0)
        self._open: dict[int, Truth] = {}
        # Faults that run already are news to whoever looks from here on.
        self._untold = [place for place, truth in enumerate(simulation.truths) if truth.end is None]
        self._begun = len(simulation.truths)
        self._acted = len(simulation.actions)
        self._judged = self._acted
        self._services = [service.id for service in simulation.physics.services]
        self._flow = None if simulation.last is None else simulation.last.flow
        self._watched = {
            metric: np.array(
                [at for at, spec in enumerate(simulation.series) if spec.metric == metric], np.int64
            )
            for metric, *_ in _ALARMS
        }
        self._alarm = {metric: _Alarm(len(at)) for metric, at in self._watched.items()}

    def look(self, frame: SampleFrame) -> list[Happening]:
        """What the tick that yielded `frame` brought, in the order in which it is understood."""
        acted = self._simulation.actions[self._acted :]
        self._acted += len(acted)
        found = [*self._faults(), *self._new_changes(acted)]
        found += [self._action(one) for one in acted]
        found += self._alarmed(frame)
        last = self._simulation.last
        if last is not None:
            found += self._platform(last.flow, {one.target for one in acted})
        return [*found, *self._outcomes()]

    def _faults(self) -> Iterator[Happening]:
        truths = self._simulation.truths
        durations = {run.id: run.fault.duration for run in self._simulation.running}
        new = [*self._untold, *range(self._begun, len(truths))]
        self._untold, self._begun = [], len(truths)
        for truth in (truths[place] for place in new):
            seconds = durations.get(truth.id)
            lasting = "" if seconds is None else f" (Duration: {seconds:g}s)"
            where = "at" if truth.harmless else "detected in"
            text = f"{truth.fault.label} {where} {truth.target}{lasting}"
            yield self._of(truth, truth.start, HappeningKind.BEGAN, text, truth.target)
        for place in (*self._open, *new):
            yield from self._course(self._open.get(place), truths[place])
            self._open[place] = truths[place]
        self._open = {place: truth for place, truth in self._open.items() if truth.end is None}

    def _course(self, before: Truth | None, truth: Truth) -> Iterator[Happening]:
        """What is new about one fault."""
        now = self._simulation.now
        known = before.affected if before is not None else ()
        for entity in truth.affected:
            if entity not in known:
                text = f"{entity} is affected"
                if truth.fault is FaultType.METRIC_CORRUPTION:
                    metric, factor = garbled(truth.id)
                    text = f"{metric} of {entity} shows {factor:g} times what it is"
                yield self._of(truth, now, HappeningKind.REACHED, text, entity)
        if truth.mitigated_at is not None and (before is None or before.mitigated_at is None):
            text = f"{truth.fault.label} of {truth.target} recovers"
            yield self._of(truth, truth.mitigated_at, HappeningKind.RECOVERING, text, truth.target)
        if truth.end is not None:
            text = f"{truth.target} {truth.fault.label}"
            yield self._of(truth, truth.end, HappeningKind.ENDED, text, truth.target)

    @staticmethod
    def _of(
        truth: Truth, at: Millis, kind: HappeningKind, text: str, entity: EntityId
    ) -> Happening:
        return Happening(at=at, kind=kind, text=text, entity=entity, fault=truth.id)

    def _new_changes(self, acted: tuple[Performed, ...]) -> Iterator[Happening]:
        """Changes but for those that an action told of already."""
        changes, self._changes = self._simulation.operations.since(self._changes)
        told = {(one.at, one.target) for one in acted}
        for change in changes:
            if change.entity is None or (change.at, change.entity) not in told:
                yield Happening(
                    at=change.at,
                    kind=HappeningKind.CHANGE,
                    text=change.summary,
                    entity=change.entity,
                )

    def _action(self, performed: Performed) -> Happening:
        text = said(performed)
        truths = self._simulation.truths if performed.cured else ()
        labels = [truth.fault.label for truth in truths if truth.id in performed.cured]
        if labels:
            text += f", which removes the cause: {', '.join(labels)}"
        return Happening(
            at=performed.at, kind=HappeningKind.ACTION, text=text, entity=performed.target
        )

    def _outcomes(self) -> Iterator[Happening]:
        """Verdicts on actions that were watched for long enough."""
        simulation = self._simulation
        enough = WATCHED_SECONDS - simulation.step_seconds / 2
        for performed in simulation.actions[self._judged : self._acted]:
            if performed.watched < enough:
                return
            self._judged += 1
            yield Happening(
                at=simulation.now,
                kind=HappeningKind.OUTCOME,
                text=f"{said(performed)} {verdict(performed)}",
                entity=performed.target,
            )

    def _alarmed(self, frame: SampleFrame) -> Iterator[Happening]:
        for metric, threshold, words in _ALARMS:
            places = self._watched[metric]
            high = frame.value[places] > threshold
            alarm = self._alarm[metric]
            for new in np.flatnonzero(alarm.update(high)):
                entity = frame.series[places[new]].entity
                value = float(frame.value[places[new]])
                yield Happening(
                    at=self._simulation.now,
                    kind=HappeningKind.ALARM,
                    text=words.format(entity=entity, value=value),
                    entity=entity,
                )

    def _platform(self, flow: Flow, scaled_by_hand: set[EntityId]) -> Iterator[Happening]:
        """Restarts and scaling."""
        before, self._flow = self._flow, flow
        if before is None:
            return
        now = self._simulation.now
        for place in np.flatnonzero(flow.restarts > before.restarts):
            service = self._services[place]
            count = flow.restarts[place]
            yield Happening(
                at=now,
                kind=HappeningKind.RESTART,
                text=f"{service}: a replica ran out of memory and restarts ({count:.0f} so far)",
                entity=service,
            )
        for place in np.flatnonzero(flow.replicas != before.replicas):
            service = self._services[place]
            if service not in scaled_by_hand:
                was, wanted = before.replicas[place], flow.replicas[place]
                yield Happening(
                    at=now,
                    kind=HappeningKind.SCALED,
                    text=f"{service}: {was:.0f} → {wanted:.0f} replicas by the autoscaler",
                    entity=service,
                )


def said(performed: Performed) -> str:
    """An action as people say it: `rollback of checkout-service`."""
    action = performed.action
    if action.replicas is not None:
        return f"scale {action.target} to {action.replicas} replicas"
    return f"{action.kind.value.replace('_', ' ')} of {action.target}"


def verdict(performed: Performed) -> str:
    """What came of an action so far: `helped: 12 requests suffered, 340 would have without it`."""
    words = {True: "helped", False: "made it worse", None: "made no difference"}
    return (
        f"{words[performed.helped]}: {performed.pain:,.0f} requests suffered in"
        f" {performed.watched:.0f} s, {performed.pain_without:,.0f} would have without it"
    )
