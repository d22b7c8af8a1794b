"""Faults put into somebody's own history, to see which configuration finds them.

Nobody labels enough incidents to compare two detectors by. So seeded faults are put into the
samples of a past: at a service, for a while, the series of some roles change as they do when it
is slow, fails, is overloaded or falls silent, and its callers suffer a share of it. What is
changed is what comes in; everything behind it is the pipeline that runs live. Each fault is an
affine change `value * (1 + gain * r) + offset * r`, with `r` rising from 0 to 1 over a ramp.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from dos.bus.base import Entry
from dos.evaluate.backtest.past import Known, KnownKind, Past
from dos.kit.clock import MINUTE, Millis
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId
from dos.model.intake import Intake
from dos.model.telemetry import Float64Array, MetricBatch, Role, Series

MOST = 60
"""Faults in one past."""
_LENGTH = 10 * MINUTE
_APART = 50 * MINUTE
"""Between the end of one and the beginning of the next: incidents must be over."""
_RAMP = 30_000
_SEVERITIES = (0.4, 0.7, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """What a fault of full severity does to series of a role."""

    gain: float = 0.0
    offset: float = 0.0


_KINDS: Mapping[str, Mapping[Role, _Effect]] = {
    "slow": {Role.LATENCY: _Effect(gain=3.0)},
    "failing": {Role.ERRORS: _Effect(offset=0.25), Role.AVAILABILITY: _Effect(gain=-0.25)},
    "overloaded": {
        # A share of what is left: 30 % busy becomes 86 %, never more than all of it.
        Role.SATURATION: _Effect(gain=-0.8, offset=0.8),
        Role.LATENCY: _Effect(gain=1.0),
    },
    "silent": {Role.TRAFFIC: _Effect(gain=-0.9), Role.AVAILABILITY: _Effect(gain=-0.5)},
}
_OF_CALLERS: Mapping[str, Mapping[Role, _Effect]] = {
    "slow": {Role.LATENCY: _Effect(gain=1.5)},
    "failing": {Role.ERRORS: _Effect(offset=0.1)},
    "overloaded": {Role.LATENCY: _Effect(gain=0.5)},
    "silent": {},
}
_OTHER_UNIT = _Effect(gain=4.0, offset=0.2)
"""Of errors and saturation that are no ratios: five times as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fault:
    """One fault with the factors for each series."""

    known: Known
    gain: Float64Array
    offset: Float64Array
    """`[series]`"""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """What there is in a past to break."""

    series: dict[EntityId, list[Series]] = field(default_factory=lambda: defaultdict(list))
    callers: dict[EntityId, set[EntityId]] = field(default_factory=lambda: defaultdict(set))
    first: int = 0
    last: int = 0
    count: int = 0
    learned: bool = False
    """Whether there is a part that is only learned from."""

    def see(self, intake: Intake) -> None:
        """Learn what an input brings."""
        for one in intake.series:
            self.series[one.spec.entity].append(one)
            self.count = max(self.count, one.id + 1)
        for edge in intake.edges:
            self.call(edge)
        self.learned |= intake.history
        if not intake.history and len(intake.metrics):
            self.first = self.first or intake.now
            self.last = max(self.last, intake.now)

    def call(self, edge: EdgeEvidence) -> None:
        """Remember who suffers when the callee does."""
        self.callers[edge.callee].add(edge.caller)


def injected(past: Past, *, seed: int = 0, most: int = MOST) -> Past:
    """The same past with faults in it, and the faults beside what was known already.

    The same past and seed give the same faults. Where the past is too short for one, there is
    none.

    Args:
        past: Read once to see what there is.
        seed: Of the choice of times, services and kinds.
        most: Faults at most.
    """
    watched = _Watched()
    for entry in past.read():
        if past.until is not None and entry.intake.now > past.until:
            break
        watched.see(entry.intake)
    faults = list(_plan(watched, past, Random(f"{seed}/inject"), most))  # noqa: S311  no secret

    def read() -> Iterator[Entry]:
        for entry in past.read():
            yield replace(entry, intake=_broken(entry.intake, faults))

    return replace(past, read=read, known=(*past.known, *(one.known for one in faults)))


def _plan(watched: _Watched, past: Past, rng: Random, most: int) -> Iterator[_Fault]:
    """Faults one after the other, at services whose series can show them."""
    start = max(watched.first, past.since)
    if not watched.learned and start == watched.first:
        start += (watched.last - start) // 5  # the baseline has to warm up on something
    span = watched.last - start
    length = min(_LENGTH, span // 8)
    apart = min(_APART, 2 * length)
    possible = [
        (entity, kind)
        for entity in sorted(watched.series)
        for kind in sorted(_KINDS)
        if any(one.spec.role in _KINDS[kind] for one in watched.series[entity])
        and any(one.spec.role.is_golden for one in watched.series[entity])
    ]
    if length < MINUTE // 2 or not possible:
        return
    # Spread over all of the time, so that night and day are among it.
    room = length + apart
    count = min(most, span // room)
    for number in range(count):
        slot = span / count
        at = Millis(round(start + number * slot + rng.uniform(0.1, 0.9) * max(0, slot - room)))
        entity, kind = rng.choice(possible)
        severity = rng.choice(_SEVERITIES)
        if any(one.start - apart <= at <= one.end + apart for one in past.known):
            continue
        yield _fault(watched, number, (entity, kind, severity), at, Millis(at + length))


def _fault(
    watched: _Watched,
    number: int,
    what: tuple[EntityId, str, float],
    start: Millis,
    end: Millis,
) -> _Fault:
    entity, kind, severity = what
    gain, offset = np.zeros(watched.count), np.zeros(watched.count)
    callers = sorted(watched.callers.get(entity, set()) - {entity})
    shares = [(entity, _KINDS[kind]), *((caller, _OF_CALLERS[kind]) for caller in callers)]
    for who, effects in shares:
        for one in watched.series.get(who, ()):
            effect = _effect(one, effects)
            gain[one.id], offset[one.id] = severity * effect.gain, severity * effect.offset
    return _Fault(
        known=Known(
            id=f"injected-{number}",
            kind=KnownKind.INJECTED,
            start=start,
            end=end,
            entities=(entity, *callers),
            text=f"{entity} {kind}, severity {severity:g}",
        ),
        gain=gain,
        offset=offset,
    )


def _effect(series: Series, effects: Mapping[Role, _Effect]) -> _Effect:
    spec = series.spec
    effect = effects.get(spec.role, _Effect())
    additive = effect.offset and spec.unit != "ratio"
    return _OTHER_UNIT if additive else effect


def _broken(intake: Intake, faults: Sequence[_Fault]) -> Intake:
    """The input with what was broken when its samples were taken."""
    batch = intake.metrics
    if not len(batch) or intake.history:
        return intake
    first, last = int(batch.timestamp.min()), int(batch.timestamp.max())
    value = batch.value
    for one in faults:
        if one.known.end <= first or one.known.start > last:
            continue
        at = batch.timestamp
        share = np.clip((at - one.known.start) / _RAMP, 0.0, 1.0)
        share = np.where((at >= one.known.start) & (at < one.known.end), share, 0.0)
        gain, offset = one.gain[batch.series_id], one.offset[batch.series_id]
        value = value * (1.0 + gain * share) + offset * share
    if value is batch.value:
        return intake
    metrics = MetricBatch(series_id=batch.series_id, timestamp=batch.timestamp, value=value)
    return replace(intake, metrics=metrics)
