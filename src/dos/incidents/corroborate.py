"""When anomalies are an incident: two signals of which users feel one, or one that is strong.

More traffic is no trouble however many series show it, and percentiles of one latency are one
signal, not three.
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
_PROCESSORS = ("cpu", "load")
"""In the names of metrics of resources that are used and not used up."""
_BUSY = 0.8
"""Share of a processor from which on being busy is a trouble by itself."""

Signal = tuple[EntityId, str]


def signal_of(anomaly: Anomaly) -> Signal:
    """What an anomaly is evidence of: percentiles of one latency are one signal, not three."""
    one_each = anomaly.role in {Role.SATURATION, Role.OTHER}
    return anomaly.entity, anomaly.metric if one_each else anomaly.role.value


def corroborated(anomalies: Sequence[Anomaly], config: IncidentsConfig, now: Millis) -> bool:
    """Whether `anomalies`, which belong together, are an incident."""
    signals = {signal_of(anomaly) for anomaly in anomalies}
    busy = any(is_load(anomaly) for anomaly in anomalies)
    golden = any(
        anomaly.role.is_golden and not (busy and _is_mild(anomaly)) for anomaly in anomalies
    )
    if len(signals) >= 2 and golden:
        return True
    return any(_stands_alone(anomaly, config, now) for anomaly in anomalies)


def strength_of(anomaly: Anomaly) -> float:
    """Distance from normal over the series' threshold; 1 at the threshold."""
    return -math.log2(max(1.0 - anomaly.score, 1e-9))


def is_load(anomaly: Anomaly) -> bool:
    """More requests than usual."""
    return anomaly.role is Role.TRAFFIC and anomaly.direction is Direction.ABOVE


def _is_mild(anomaly: Anomaly) -> bool:
    """More requests take a little longer; that is what the reserve is for."""
    return anomaly.role is Role.LATENCY and strength_of(anomaly) < _ALONE_STRENGTH


def _stands_alone(anomaly: Anomaly, config: IncidentsConfig, now: Millis) -> bool:
    """Whether one signal is strong enough, for how long it lasts."""
    falling = anomaly.role is Role.TRAFFIC and anomaly.direction is Direction.BELOW
    if not (anomaly.role.is_golden or anomaly.role is Role.SATURATION or falling):
        return False
    if anomaly.role is Role.SATURATION and _has_room(anomaly):
        return False
    strength = strength_of(anomaly)
    if falling and anomaly.observed <= _NOTHING * anomaly.expected:
        strength = max(strength, _ALONE_STRENGTH)
    if strength < _ALONE_STRENGTH:
        return False
    needed = config.alone_after * _ALONE_STRENGTH / strength
    return now - anomaly.started_at >= needed * SECOND


def _has_room(anomaly: Anomaly) -> bool:
    """Whether a processor is busier than usual and still has time to spare.

    Batch work takes what nobody needs; who suffers from it shows it in latency. Memory and disks
    fill up and do not empty by themselves, so they get no such benefit of the doubt.
    """
    return any(word in anomaly.metric for word in _PROCESSORS) and anomaly.observed < _BUSY


def title_of(anomalies: Sequence[Anomaly]) -> str:
    """`checkout: latency_p95 above normal, and 3 more signals`."""
    ordered = sorted(
        anomalies, key=lambda a: (not a.role.is_golden, a.started_at, -abs(a.deviation), a.id)
    )
    first = ordered[0]
    title = f"{first.entity}: {first.metric} {first.direction.value} normal"
    others = len(ordered) - 1
    return f"{title}, and {others} more signal{'s' if others > 1 else ''}" if others else title
