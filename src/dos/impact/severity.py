"""Severity, and why.

The rules, in order:

1. The affected share of the business weight gives the first verdict (`impact.severity`).
2. When users feel it, because an entry point is abnormal in errors, latency or availability, it
   is one level worse, and at least sev2.
3. When no golden signal is abnormal anywhere, nobody feels it yet: sev3 at worst.
"""

from __future__ import annotations

from collections.abc import Sequence

from dos.impact.base import SeverityShares
from dos.model.anomaly import Anomaly, Direction
from dos.model.ids import EntityId
from dos.model.impact import Affected, Severity
from dos.model.telemetry import Role

_LEVELS = list(Severity)
_NAMES_SHOWN = 3


def judge(
    *,
    affected: Sequence[Affected],
    entry_points: Sequence[EntityId],
    score: float,
    entities: int,
    anomalies: Sequence[Anomaly],
    shares: SeverityShares,
) -> tuple[Severity, tuple[str, ...]]:
    """The severity and its reasons, as sentences with numbers.

    Args:
        affected: The blast radius.
        entry_points: Those of it where users come in.
        score: Affected share of the business weight, 0 to 1.
        entities: How many entities the system has.
        anomalies: Active anomalies; empty when the caller does not know them.
        shares: Thresholds on `score`.
    """
    severity = _by_share(score, shares)
    reasons = [_radius(affected, score, entities)]
    abnormal = {one.entity for one in affected if one.abnormal}
    gates = [one for one in entry_points if one in abnormal]
    felt = [one for one in anomalies if _is_felt(one) and one.entity in gates]
    if felt or (gates and not anomalies):
        severity = _LEVELS[max(0, min(_LEVELS.index(severity) - 1, _LEVELS.index(Severity.SEV2)))]
        reasons.append(_felt(gates, felt))
    elif anomalies and not any(_is_felt(one) for one in anomalies):
        severity = max(severity, Severity.SEV3)
        reasons.append(
            f"No error, latency or availability signal is among the {len(anomalies)} abnormal "
            "series: users do not feel it yet."
        )
    elif entry_points and not gates:
        reasons.append(f"Users come in through {_listed(entry_points)}, still normal.")
    return severity, tuple(reasons)


def _by_share(score: float, shares: SeverityShares) -> Severity:
    if score >= shares.sev1:
        return Severity.SEV1
    if score >= shares.sev2:
        return Severity.SEV2
    return Severity.SEV3 if score >= shares.sev3 else Severity.SEV4


def _is_felt(anomaly: Anomaly) -> bool:
    """Whether users notice: a golden signal that is off to the bad side.

    Faster answers or fewer errors than usual are odd, but nobody is paged for them.
    """
    if not anomaly.role.is_golden:
        return False
    bad = Direction.BELOW if anomaly.role is Role.AVAILABILITY else Direction.ABOVE
    return anomaly.direction is bad


def _radius(affected: Sequence[Affected], score: float, entities: int) -> str:
    ill = sum(one.abnormal for one in affected)
    at_risk = len(affected) - ill
    verb = "depends" if at_risk == 1 else "depend"
    more = f" and {at_risk} more {verb} on {'it' if ill == 1 else 'them'}" if at_risk else ""
    return (
        f"{ill} of {entities} entities {'is' if ill == 1 else 'are'} abnormal{more}: "
        f"{score:.0%} of the business weight."
    )


def _felt(gates: Sequence[EntityId], felt: Sequence[Anomaly]) -> str:
    if not felt:
        return f"Users feel it: {_listed(gates)}, where they come in, abnormal."
    worst = max(felt, key=lambda one: (abs(one.deviation), one.metric))
    return (
        f"Users feel it: {worst.entity}, where they come in, has {worst.metric} at "
        f"{worst.observed:.3g} against {worst.expected:.3g} expected{_factor(worst)}."
    )


def _factor(anomaly: Anomaly) -> str:
    if anomaly.expected <= 0 or anomaly.observed < 2 * anomaly.expected:
        return ""
    return f" ({anomaly.observed / anomaly.expected:.1f} times)"


def _listed(names: Sequence[EntityId]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
