"""How much speaks for an incident: two signals of which users feel one, or one that is strong.

Evidence is a number, 1 where a careful person would say so. Of two signals the weaker one counts.
One signal by itself has to be strong, and to last the longer the weaker it is; a memory or a disk
that fills up need not be strong, since it does not empty by itself, and neither need traffic of
which most is lost, if that lasts. More traffic is no trouble however many series show it, and
percentiles of one latency are one signal, not three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dos.incidents.config import IncidentsConfig
from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.ids import EntityId
from dos.model.telemetry import Role

_ALONE_STRENGTH = 2.0
"""A signal weaker than this many times its threshold never is an incident by itself."""

_NOTHING = 0.05
"""Traffic below this share of the expected is lost altogether."""
_MOST_LOST = 0.5
"""Traffic below this share of the expected has lost the better part of it."""
_LATER = 2.0
"""Times `alone_after` that such a loss has to last."""
_PROCESSORS = ("cpu", "load")
"""In the names of metrics of resources that are used and not used up."""
_STORES = ("memory", "disk")
"""In the names of metrics of resources that fill up."""
_SOONER = 2 / 3
"""Share of `alone_after` that a resource that fills up has to last."""
_BUSY = 0.8
"""Share of a processor from which on being busy is a trouble by itself."""
_HALF_BUSY = 0.5
_RUNAWAY = 5.0
"""Times its usual share from which on `_HALF_BUSY` is: a loop that does not end. Who waits for
such a processor waits for twice as long, which noisy latencies hide for a long time."""

Signal = tuple[EntityId, str]


def signal_of(anomaly: Anomaly) -> Signal:
    """What an anomaly is evidence of: percentiles of one latency are one signal, not three."""
    one_each = anomaly.role in {Role.SATURATION, Role.OTHER}
    return anomaly.entity, anomaly.metric if one_each else anomaly.role.value


def evidence_of(anomalies: Sequence[Anomaly], config: IncidentsConfig, now: Millis) -> float:
    """How much speaks for `anomalies`, which belong together, being an incident; 0 or more."""
    busy = any(is_load(anomaly) for anomaly in anomalies)
    felt: dict[Signal, float] = {}
    signals: dict[Signal, float] = {}
    for anomaly in anomalies:
        signal, strength = signal_of(anomaly), strength_of(anomaly)
        if is_relief(anomaly):
            continue
        signals[signal] = max(strength, signals.get(signal, 0.0))
        if anomaly.role.is_golden and not (busy and _is_mild(anomaly)):
            felt[signal] = max(strength, felt.get(signal, 0.0))
    pair = 0.0
    if felt:
        first = max(felt, key=lambda one: (felt[one], one))
        pair = max((one for key, one in signals.items() if key != first), default=0.0)
        pair = min(pair, felt[first])
    return max(pair, *(_alone(anomaly, config, now) for anomaly in anomalies), 0.0)


def strength_of(anomaly: Anomaly) -> float:
    """Distance from normal over the series' threshold; 1 at the threshold."""
    return -math.log2(max(1.0 - anomaly.score, 1e-9))


def is_load(anomaly: Anomaly) -> bool:
    """More requests than usual."""
    return anomaly.role is Role.TRAFFIC and anomaly.direction is Direction.ABOVE


def is_relief(anomaly: Anomaly) -> bool:
    """A resource that is less used than usual hurts nobody; one that shows nothing may be blind."""
    fell = anomaly.role is Role.SATURATION and anomaly.direction is Direction.BELOW
    return fell and anomaly.observed > _NOTHING * anomaly.expected


def is_strong(anomaly: Anomaly) -> bool:
    """Whether it is far beyond its threshold."""
    return strength_of(anomaly) >= _ALONE_STRENGTH


def keeps_open(anomaly: Anomaly) -> bool:
    """Whether an incident lasts as long as this does.

    What goes along with others does not keep it open, nor does a processor with time to spare, nor
    any other resource that is a little short of room and does not fill up: nobody feels that.
    """
    if anomaly.goes_along or is_spare(anomaly):
        return False
    above = anomaly.role is Role.SATURATION and anomaly.direction is Direction.ABOVE
    return not above or _fills(anomaly) or is_strong(anomaly)


def is_spare(anomaly: Anomaly) -> bool:
    """Whether it is a processor that works harder than usual and has time to spare."""
    busy = anomaly.role is Role.SATURATION and anomaly.direction is Direction.ABOVE
    return busy and _has_room(anomaly)


def _is_mild(anomaly: Anomaly) -> bool:
    """More requests take a little longer; that is what the reserve is for."""
    return anomaly.role is Role.LATENCY and not is_strong(anomaly)


def _alone(anomaly: Anomaly, config: IncidentsConfig, now: Millis) -> float:
    """What one signal says by itself, by its strength and how long it lasts."""
    fell = anomaly.direction is Direction.BELOW
    gone = fell and anomaly.observed <= _NOTHING * anomaly.expected
    demanded, lasting, strength = _ALONE_STRENGTH, config.alone_after, strength_of(anomaly)
    if anomaly.role is Role.SATURATION:
        if (not gone) if fell else _has_room(anomaly):
            return 0.0
        if not fell and _fills(anomaly):
            demanded, lasting = 1.0, config.alone_after * _SOONER
    elif anomaly.role is Role.TRAFFIC and fell:
        if anomaly.observed < _MOST_LOST * anomaly.expected:
            demanded, lasting = 1.0, config.alone_after * _LATER
    elif not anomaly.role.is_golden:
        return 0.0
    if gone:
        demanded, lasting = _ALONE_STRENGTH, config.alone_after
        strength = max(strength, _ALONE_STRENGTH)
    lasted = (now - anomaly.started_at) / SECOND
    if _is_runaway(anomaly) and anomaly.observed < _BUSY and lasted < config.alone_after * _SOONER:
        return 0.0  # however strong it is: batch work is over soon
    patience = lasted / lasting if lasting > 0 else math.inf
    return min(strength / demanded, strength / demanded * patience)


def _fills(anomaly: Anomaly) -> bool:
    return any(word in anomaly.metric for word in _STORES)


def _has_room(anomaly: Anomaly) -> bool:
    """Whether a processor is busier than usual and still has time to spare.

    Batch work takes what nobody needs; who suffers from it shows it in latency.
    """
    return _is_processor(anomaly) and anomaly.observed < _BUSY and not _is_runaway(anomaly)


def _is_runaway(anomaly: Anomaly) -> bool:
    """A processor that idled, and now works for half of the time or more."""
    least = max(_HALF_BUSY, _RUNAWAY * anomaly.expected)
    busy = anomaly.role is Role.SATURATION and anomaly.direction is Direction.ABOVE
    return busy and _is_processor(anomaly) and anomaly.observed >= least


def _is_processor(anomaly: Anomaly) -> bool:
    return any(word in anomaly.metric for word in _PROCESSORS)


def title_of(anomalies: Sequence[Anomaly]) -> str:
    """`checkout: latency_p95 above normal, and 3 more signals`."""
    ordered = sorted(
        anomalies, key=lambda a: (not a.role.is_golden, a.started_at, -abs(a.deviation), a.id)
    )
    first = ordered[0]
    title = f"{first.entity}: {first.metric} {first.direction.value} normal"
    others = len(ordered) - 1
    return f"{title}, and {others} more signal{'s' if others > 1 else ''}" if others else title
