"""Severity, and why.

The rules, in order:

1. The affected share of the business weight gives the first verdict (`impact.severity.sev1`…).
2. When users feel it, because an entry point is abnormal in errors, latency or availability, it
   is one level worse, and at least `impact.severity.felt`.
3. When no golden signal is abnormal anywhere, nobody feels it yet: `impact.severity.unfelt` at
   worst.
4. Each of `impact.severity.rules` that applies makes it at least as severe as it says. Of an
   estimate the lower end counts: nobody is woken by what may be chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dos.impact.base import LEVELS, Measure, SeverityConfig
from dos.model.anomaly import Anomaly, Direction
from dos.model.ids import EntityId
from dos.model.impact import Affected, Severity, Standing
from dos.model.telemetry import Role

NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One measure that rules look at."""

    amount: float
    says: str
    """What it says, as the beginning of a sentence."""


def judge(
    *,
    affected: Sequence[Affected],
    entry_points: Sequence[EntityId],
    score: float,
    entities: int,
    anomalies: Sequence[Anomaly],
    config: SeverityConfig,
    measures: Mapping[Measure, Found],
) -> tuple[Severity, tuple[str, ...]]:
    """The severity and its reasons, as sentences with numbers.

    Args:
        affected: The blast radius.
        entry_points: Those of it where users come in.
        score: Affected share of the business weight, 0 to 1.
        entities: How many entities the system has.
        anomalies: Active anomalies; empty when the caller does not know them.
        config: Thresholds on `score`, and the rules.
        measures: What is known of what the rules look at.
    """
    severity = _by_share(score, config)
    reasons = [_radius(affected, score, entities)]
    reasons += [one.reason for one in affected if one.standing is Standing.ASKED_LESS][:NAMES_SHOWN]
    abnormal = {one.entity for one in affected if one.abnormal}
    gates = [one for one in entry_points if one in abnormal]
    felt = [one for one in anomalies if is_felt(one) and one.entity in gates]
    if felt or (gates and not anomalies):
        severity = LEVELS[max(0, min(LEVELS.index(severity) - 1, LEVELS.index(config.felt)))]
        reasons.append(_felt(gates, felt))
    elif anomalies and not any(is_felt(one) for one in anomalies):
        severity = max(severity, config.unfelt)
        reasons.append(
            f"No error, latency or availability signal is among the {len(anomalies)} abnormal "
            "series: users do not feel it yet."
        )
    elif entry_points and not gates:
        reasons.append(f"Users come in through {listed(entry_points)}, still normal.")
    raised, why = _raised(severity, config, measures)
    return raised, (*reasons, *why)


def is_felt(anomaly: Anomaly) -> bool:
    """Whether users notice: a golden signal that is off to the bad side.

    Faster answers or fewer errors than usual are odd, but nobody is paged for them.
    """
    if not anomaly.role.is_golden:
        return False
    bad = Direction.BELOW if anomaly.role is Role.AVAILABILITY else Direction.ABOVE
    return anomaly.direction is bad


def listed(names: Sequence[EntityId]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _by_share(score: float, config: SeverityConfig) -> Severity:
    if score >= config.sev1:
        return Severity.SEV1
    if score >= config.sev2:
        return Severity.SEV2
    return Severity.SEV3 if score >= config.sev3 else Severity.SEV4


def _raised(
    severity: Severity, config: SeverityConfig, measures: Mapping[Measure, Found]
) -> tuple[Severity, list[str]]:
    """The severity after the rules, and the sentence of the rule that decided, if one did."""
    applying = [
        rule
        for rule in config.rules
        if (found := measures.get(rule.measure)) is not None and found.amount >= rule.at_least
    ]
    if not applying:
        return severity, []
    worst = min(applying, key=lambda rule: LEVELS.index(rule.severity))
    if LEVELS.index(worst.severity) > LEVELS.index(severity):
        return severity, []
    limit = f"{worst.measure.value} of {worst.at_least:g} or more"
    says = measures[worst.measure].says
    return worst.severity, [f"{says}: {worst.severity.value} at least by the rule for {limit}."]


def _radius(affected: Sequence[Affected], score: float, entities: int) -> str:
    ill = sum(one.abnormal for one in affected)
    at_risk = sum(one.standing is Standing.AT_RISK for one in affected)
    verb = "depends" if at_risk == 1 else "depend"
    more = f" and {at_risk} more {verb} on {'it' if ill == 1 else 'them'}" if at_risk else ""
    return (
        f"{ill} of {entities} entities {'is' if ill == 1 else 'are'} abnormal{more}: "
        f"{score:.0%} of the business weight."
    )


def _felt(gates: Sequence[EntityId], felt: Sequence[Anomaly]) -> str:
    if not felt:
        return f"Users feel it: {listed(gates)}, where they come in, abnormal."
    worst = max(felt, key=lambda one: (abs(one.deviation), one.metric))
    return (
        f"Users feel it: {worst.entity}, where they come in, has {worst.metric} at "
        f"{worst.observed:.3g} against {worst.expected:.3g} expected{_factor(worst)}."
    )


def _factor(anomaly: Anomaly) -> str:
    if anomaly.expected <= 0 or anomaly.observed < 2 * anomaly.expected:
        return ""
    return f" ({anomaly.observed / anomaly.expected:.1f} times)"
