"""Follows each incident of a simulation from its start to its post-mortem.

Idle, select type, select target, apply effects, recover, clean up: that is the simulator's side.
Detection, triage, mitigation, resolution, post-mortem: that is how people live through the same
time. Both are read off what really happened, tick by tick, and stand in the record at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, SampleFrame
from dos.simulate.engine import Simulation, Truth
from dos.simulate.faults import Fault, FaultType
from dos.simulate.happenings import Happening, HappeningKind, said
from dos.simulate.kinds import KINDS
from dos.simulate.operations import suffering
from dos.simulate.postmortem import (
    Entry,
    Harm,
    Phase,
    PhaseReached,
    Postmortem,
    Reading,
    Stage,
    StageReached,
    Taken,
)
from dos.simulate.vitals import Vitals

MEMORY = 60
"""Ticks in which nothing was wrong that the values before an incident are the median of."""
_LEAST_MEMORY = 3
SUSTAINED = 3.0
"""Seconds whose median counts as a worst value: a request of few that failed is not one."""
MOST_ENTRIES = 500
"""Lines of a timeline at most; the first ones are kept."""
MOST_ENTITIES = 50
"""Entities with their worst values in a record."""
_WORSE_HIGH = (
    "cpu_usage",
    "memory_usage",
    "latency_p95",
    "error_rate",
    "disk_usage",
    "retransmits",
    "clock_offset",
    "queue_depth",
    "connections",
)
_WORSE_LOW = ("hit_ratio", "ready")
_OF_ONE_FAULT = {
    HappeningKind.BEGAN,
    HappeningKind.REACHED,
    HappeningKind.RECOVERING,
    HappeningKind.ENDED,
}


class _Case:
    """What is gathered of one fault while it runs. Arrays `[series]`."""

    def __init__(self, fault: Fault | None, healthy: Float64Array | None, width: int) -> None:
        self.fault = fault
        self.usual = None
        """Median, least and most of `healthy`, `[tick, series]`."""
        if healthy is not None:
            self.usual = np.median(healthy, axis=0), healthy.min(axis=0), healthy.max(axis=0)
        self.high: Float64Array = np.full(width, -np.inf)
        self.low: Float64Array = np.full(width, np.inf)
        self.high_at: Int64Array = np.zeros(width, np.int64)
        self.low_at: Int64Array = np.zeros(width, np.int64)
        self.happened: list[Happening] = []
        self.reached_at: list[Millis] = []
        self.requests = self.failed = self.slow = 0.0

    def measure(self, values: Float64Array, now: Millis) -> None:
        """Keep the extremes."""
        higher, lower = values > self.high, values < self.low
        self.high_at[higher] = now
        self.low_at[lower] = now
        np.maximum(self.high, values, out=self.high)
        np.minimum(self.low, values, out=self.low)


class Lifecycle:
    """Told of each tick of `simulation`, it writes the record of every incident that ends."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._vitals = Vitals(simulation.series)
        self._entries = np.flatnonzero(simulation.physics.entries > 0)
        self._healthy: deque[Float64Array] = deque(maxlen=MEMORY)
        ticks = max(1, round(SUSTAINED / simulation.step_seconds))
        self._latest: deque[Float64Array] = deque(maxlen=ticks)
        self._cases: dict[str, _Case] = {}

    def follow(self, frame: SampleFrame, happened: Sequence[Happening]) -> list[Postmortem]:
        """Take in a tick.

        Args:
            frame: What was measured in it.
            happened: What was new in it, as an `Observer` tells.

        Returns:
            The records of the incidents that ended with it.
        """
        self._latest.append(frame.value)
        for one in happened:
            if one.kind is HappeningKind.BEGAN and one.fault is not None:
                self._cases[one.fault] = self._open(one.fault)
        if not self._cases:
            self._healthy.append(frame.value)
            return []
        now = self._simulation.now
        values = frame.value if len(self._latest) < 3 else np.median(self._latest, axis=0)
        ended = [one.fault for one in happened if one.kind is HappeningKind.ENDED]
        for fault, case in self._cases.items():
            case.measure(values, now)
            case.reached_at += [
                one.at
                for one in happened
                if one.fault == fault and one.kind is HappeningKind.REACHED
            ]
            room = MOST_ENTRIES - len(case.happened)
            mine = (one for one in happened if one.kind not in _OF_ONE_FAULT or one.fault == fault)
            case.happened += list(mine)[:room]
            self._count(fault, case)
        return [self._close(fault) for fault in list(self._cases) if fault in ended]

    def unfinished(self) -> list[Postmortem]:
        """Records of the incidents that still run, as far as they have come."""
        return [self._close(fault) for fault in list(self._cases)]

    def _open(self, fault: str) -> _Case:
        enough = len(self._healthy) >= _LEAST_MEMORY
        healthy = np.stack(self._healthy) if enough else None
        running = (run.fault for run in self._simulation.running if run.id == fault)
        return _Case(next(running, None), healthy, len(self._simulation.series))

    def _count(self, fault: str, case: _Case) -> None:
        """Add up what users had of one tick, with the fault and without it."""
        last, without = self._simulation.last, self._simulation.without(fault)
        if last is None or without is None:
            return
        physics, seconds = self._simulation.physics, self._simulation.step_seconds
        failing, slow = (one[self._entries].sum() for one in suffering(physics, last.flow))
        usual, slowish = (one[self._entries].sum() for one in suffering(physics, without))
        case.requests += float(last.flow.arrivals[self._entries].sum()) * seconds
        case.failed += float(failing - usual) * seconds
        case.slow += float(slow - slowish) * seconds

    def _close(self, fault: str) -> Postmortem:
        case = self._cases.pop(fault)
        truth = next(one for one in self._simulation.truths if one.id == fault)
        involved = self._involved(truth)
        return Postmortem(
            id=truth.id,
            fault=truth.fault,
            title=title(truth),
            target=truth.target,
            severity=truth.severity,
            harmless=truth.harmless,
            start=truth.start,
            end=truth.end,
            stages=tuple(self._stages(truth, case)),
            phases=tuple(self._phases(truth, case)),
            timeline=tuple(
                Entry(at=one.at, kind=one.kind, text=one.text)
                for one in case.happened
                if one.fault is not None or one.entity is None or one.entity in involved
            ),
            affected=truth.affected,
            causes=truth.causes,
            readings=tuple(self._readings(involved, case)),
            harm=Harm(
                requests=round(case.requests, 1),
                failed=round(case.failed, 1),
                slow=round(case.slow, 1),
            ),
            beside=tuple(self._beside(truth)),
            actions=tuple(self._actions(truth, involved)),
            cures=tuple(sorted(KINDS[truth.fault].cures)),
        )

    def _beside(self, truth: Truth) -> Iterator[str]:
        end = self._simulation.now if truth.end is None else truth.end
        for one in self._simulation.truths:
            over = self._simulation.now if one.end is None else one.end
            if one.id != truth.id and one.start < end and over > truth.start:
                yield title(one)

    def _involved(self, truth: Truth) -> dict[EntityId, None]:
        """Its causes and all it affected, each once; services before machines."""
        machines = self._vitals.nodes
        causes = (truth.target, *truth.causes)
        services = [one for one in causes if one not in machines]
        return dict.fromkeys((*services, *truth.affected, *causes))

    def _stages(self, truth: Truth, case: _Case) -> Iterator[StageReached]:
        start = truth.start
        kind = f"{truth.fault.label}{', harmless' if truth.harmless else ''}"
        yield StageReached(stage=Stage.SELECT_TYPE, at=start, note=kind)
        yield StageReached(stage=Stage.SELECT_TARGET, at=start, note=truth.target)
        note = f"severity {truth.severity:.2f}"
        if case.fault is not None and case.fault.ramp > 0:
            note += f", full strength after {case.fault.ramp:g} s"
        yield StageReached(stage=Stage.APPLY_EFFECTS, at=start, note=note)
        if truth.mitigated_at is not None:
            note = f"what is left of it goes within {case.fault.recovery:g} s" if case.fault else ""
            yield StageReached(stage=Stage.RECOVER, at=truth.mitigated_at, note=note)
        if truth.end is not None:
            note = "its effects and the world beside are dropped"
            yield StageReached(stage=Stage.CLEAN_UP, at=truth.end, note=note)
            yield StageReached(stage=Stage.IDLE, at=truth.end)

    def _phases(self, truth: Truth, case: _Case) -> Iterator[PhaseReached]:
        def reached(phase: Phase, at: Millis, note: str) -> PhaseReached:
            return PhaseReached(phase=phase, at=at, after=(at - truth.start) / SECOND, note=note)

        seen = truth.visible_at
        if truth.fault is FaultType.METRIC_CORRUPTION:
            seen = truth.start
        if seen is not None:
            note = f"{truth.affected[0]} looks different" if truth.affected else ""
            yield reached(Phase.DETECTION, seen, note)
            mended = self._simulation.now if truth.mitigated_at is None else truth.mitigated_at
            known = [at for at in case.reached_at if at <= mended]
            note = f"{len(known)} affected, cause {truth.target}"
            yield reached(Phase.TRIAGE, max(known, default=seen), note)
        if truth.mitigated_at is not None:
            cures = [one for one in self._simulation.actions if truth.id in one.cured]
            note = f"by {said(cures[0])}" if cures else "by itself"
            yield reached(Phase.MITIGATION, truth.mitigated_at, note)
        if truth.end is not None:
            yield reached(Phase.RESOLUTION, truth.end, "")
            yield reached(Phase.POST_MORTEM, self._simulation.now, "")

    def _readings(self, involved: dict[EntityId, None], case: _Case) -> Iterator[Reading]:
        series = self._simulation.series
        for entity in list(involved)[:MOST_ENTITIES]:
            for metric in (*_WORSE_HIGH, *_WORSE_LOW, "request_rate"):
                place = self._vitals.place(entity, metric)
                if place is None or not np.isfinite(case.high[place]):
                    continue
                before, least, most = (
                    (None, None, None)
                    if case.usual is None
                    else (float(row[place]) for row in case.usual)
                )
                low = metric in _WORSE_LOW
                if metric == "request_rate" and before is not None:
                    # Too little is as bad as too much.
                    low = before - case.low[place] > case.high[place] - before
                worst, at = (case.low, case.low_at) if low else (case.high, case.high_at)
                yield Reading(
                    entity=entity,
                    metric=metric,
                    unit=series[place].unit,
                    before=before,
                    usual=None if least is None or most is None else (least, most),
                    worst=float(worst[place]),
                    at=Millis(int(at[place])),
                )

    def _actions(self, truth: Truth, involved: dict[EntityId, None]) -> Iterator[Taken]:
        end = self._simulation.now if truth.end is None else truth.end
        for one in self._simulation.actions:
            cured = truth.id in one.cured
            if cured or (truth.start <= one.at <= end and one.target in involved):
                yield Taken(
                    at=one.at,
                    kind=one.kind,
                    target=one.target,
                    replicas=one.action.replicas,
                    cured=cured,
                    helped=one.helped,
                    text=said(one),
                )


def title(truth: Truth) -> str:
    """As people call it: `CPU spike of payment-service`."""
    return f"{truth.fault.label} of {truth.target}"
