"""Who is affected by an incident, how badly, and how severe that makes it. Pure functions.

    abnormal entities ─▶ radius (who, who is asked for less, who will follow)
    samples ─▶ signals ─▶ requests (failed, slowed, users, money) and slo (error budgets)
                                    └──────▶ severity, with reasons

What cannot be told is said, with why, in `Impact.unknown`; nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dos.impact.base import ImpactConfig
from dos.impact.radius import (
    Risk,
    asked_less,
    distances,
    downstream_of_trouble,
    risks,
)
from dos.impact.requests import Totals, entry_impact
from dos.impact.said import forecast_of, measures_of, requests_said, slos_said
from dos.impact.severity import judge
from dos.impact.signals import Telemetry
from dos.impact.slo import Spent, status_of
from dos.kit.clock import Millis
from dos.model.anomaly import Anomaly
from dos.model.entity import EntityKind
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Affected, EntryImpact, Impact, SloStatus, Standing

MOST_ENTRIES = 50
"""Entry points whose requests are counted, nearest first."""


def assess(
    abnormal: Collection[EntityId],
    root: EntityId | None,
    graph: GraphSnapshot,
    config: ImpactConfig,
    anomalies: Sequence[Anomaly] = (),
    *,
    telemetry: Telemetry | None = None,
    spent: Mapping[str, Spent] | None = None,
    before: Impact | None = None,
) -> Impact:
    """Who is affected when the entities `abnormal` are, and how severe that is.

    Args:
        abnormal: Entities that show anomalies now; those unknown to the graph count too.
        root: The probable root cause, from which distances are counted; None when not known.
        graph: The dependency graph at this time.
        config: Business weights, objectives and thresholds.
        anomalies: The active anomalies of these entities: whether users feel it, and who is
            merely asked for less. Without them every abnormal entity counts as felt.
        telemetry: Samples of the entry points and of the entities with objectives.
        spent: What of the error budgets was spent before these samples, by name of the objective.
        before: What was said of the incident before, of which some still holds.

    Returns:
        The impact; its `score` counts an abnormal entity with its whole weight and one that only
        depends on them with `config.at_risk` of it. Cost: O(entities + edges), and O(time × series)
        of each entry point.
    """
    less = asked_less(abnormal, root, graph, anomalies)
    less |= _still(less, abnormal, anomalies, root, before)
    ill = set(abnormal) - less.keys()
    reached = downstream_of_trouble(ill, graph)
    now = telemetry.end if telemetry is not None else _latest(anomalies)
    follow = risks(ill, graph, anomalies, now)
    distance = distances(root, ill, reached | less.keys(), graph)
    affected = _affected(ill, less, follow, distance, config)
    entry_points = tuple(sorted(reached & entry_points_of(graph, config)))
    everybody = {entity.id for entity in graph.entities} | reached | less.keys()
    score, predicted = _scores(affected, everybody, config)
    nearest = sorted(entry_points, key=lambda one: (distance[one], one))[:MOST_ENTRIES]
    met = _met(nearest, reached, graph, telemetry, spent, config)
    severity, reasons = judge(
        affected=affected,
        entry_points=entry_points,
        score=score,
        entities=len(everybody),
        anomalies=[one for one in anomalies if one.entity not in less],
        config=config.severity,
        measures=measures_of(score, met.entries, met.totals, met.slos, config),
    )
    found = Impact(
        severity=severity,
        score=score,
        affected=affected,
        entry_points=entry_points,
        reasons=(*reasons, *met.said(config), *forecast_of(affected, predicted)),
        predicted=predicted,
    )
    return _with_earlier(_with(found, met, telemetry), before, config)


def tally(
    impact: Impact,
    graph: GraphSnapshot,
    config: ImpactConfig,
    *,
    telemetry: Telemetry,
    spent: Mapping[str, Spent] | None = None,
) -> Impact:
    """`impact` with requests and error budgets counted anew, and all else as it was.

    Args:
        impact: What was said while the incident was open.
        graph: The dependency graph at this time.
        config: Weights and objectives.
        telemetry: Samples from before the incident until it was over.
        spent: As for `assess`.
    """
    reached = {one.entity for one in impact.affected if one.standing is not Standing.ASKED_LESS}
    nearest = impact.entry_points[:MOST_ENTRIES]
    met = _met(nearest, reached, graph, telemetry, spent, config)
    before = _Met(impact.entries, Totals.of(impact.entries), impact.slos)
    outdated = {*before.said(config), *forecast_of(impact.affected, impact.predicted or 0.0)}
    kept = tuple(reason for reason in impact.reasons if reason not in outdated)
    found = replace(impact, reasons=(*kept, *met.said(config)))
    return _with_earlier(_with(found, met, telemetry), impact, config)


def entry_points_of(graph: GraphSnapshot, config: ImpactConfig) -> set[EntityId]:
    """Where users come in: gateways, callers that nobody calls, and what the configuration says."""
    gateways = {entity.id for entity in graph.entities if entity.kind is EntityKind.GATEWAY}
    return gateways | set(graph.entry_points()) | {EntityId(one) for one in config.entry_points}


@dataclass(frozen=True, slots=True)
class _Met:
    """What users met, and what it did to error budgets."""

    entries: tuple[EntryImpact, ...]
    totals: Totals
    slos: tuple[SloStatus, ...]

    def said(self, config: ImpactConfig) -> tuple[str, ...]:
        """The same as sentences."""
        return (*requests_said(self.entries, self.totals, config), *slos_said(self.slos))


def _met(
    nearest: Sequence[EntityId],
    reached: Collection[EntityId],
    graph: GraphSnapshot,
    telemetry: Telemetry | None,
    spent: Mapping[str, Spent] | None,
    config: ImpactConfig,
) -> _Met:
    entries = _entries(nearest, graph, telemetry, config) if telemetry is not None else ()
    slos = _slos(reached, telemetry, spent or {}, config)
    return _Met(entries, Totals.of(entries), slos)


def _with(impact: Impact, met: _Met, telemetry: Telemetry | None) -> Impact:
    """`impact` with what users met."""
    return replace(
        impact,
        entries=met.entries,
        failed=met.totals.failed,
        slowed=met.totals.slowed,
        users=met.totals.users,
        revenue=met.totals.revenue,
        slos=met.slos,
        unknown=_unknown(impact.entry_points, met.entries, met.slos, telemetry),
    )


def entities_to_read(
    abnormal: Collection[EntityId], graph: GraphSnapshot, config: ImpactConfig
) -> list[EntityId]:
    """Entities whose samples `assess` wants to see, for whoever reads them."""
    reached = downstream_of_trouble(abnormal, graph)
    wanted = {EntityId(slo.entity) for slo in config.slos} & reached
    gates = reached & entry_points_of(graph, config)
    distance = distances(None, abnormal, gates, graph)
    nearest = sorted(gates, key=lambda one: (distance[one], one))[:MOST_ENTRIES]
    return sorted(wanted | set(nearest))


def _with_earlier(found: Impact, before: Impact | None, config: ImpactConfig) -> Impact:
    """`found`, with the requests that were counted before where they cannot be counted any more.

    That is so of an incident that lasts longer than samples are kept.
    """
    known = found.failed is not None or found.slowed is not None
    if known or before is None or (before.failed is None and before.slowed is None):
        return found
    gone = "The samples of its beginning are gone: requests are as they were counted last."
    counted = requests_said(before.entries, Totals.of(before.entries), config)
    return replace(
        found,
        reasons=(*found.reasons, *counted),
        entries=before.entries,
        failed=before.failed,
        slowed=before.slowed,
        users=before.users,
        revenue=before.revenue,
        unknown=(*found.unknown, gone),
    )


def _still(
    less: Collection[EntityId],
    abnormal: Collection[EntityId],
    anomalies: Sequence[Anomaly],
    root: EntityId | None,
    before: Impact | None,
) -> dict[EntityId, str]:
    """Who was merely asked for less before, and shows nothing any more."""
    if before is None:
        return {}
    showing = {one.entity for one in anomalies} | set(less)
    return {
        one.entity: f"{one.entity} was only asked for less, and shows nothing any more."
        for one in before.affected
        if one.standing is not None
        and not one.abnormal
        and one.entity in abnormal
        and one.entity not in showing
        and one.entity != root
    }


def _latest(anomalies: Sequence[Anomaly]) -> Millis | None:
    return max((one.decided_at for one in anomalies), default=None)


def _affected(
    ill: Collection[EntityId],
    less: Mapping[EntityId, str],
    follow: Mapping[EntityId, Risk],
    distance: Mapping[EntityId, int],
    config: ImpactConfig,
) -> tuple[Affected, ...]:
    """Everybody in the blast radius, abnormal ones first, then by distance and name."""
    found: list[Affected] = []
    for entity in sorted(distance):
        standing, risk = Standing.AT_RISK, follow.get(entity)
        if entity in ill:
            standing = Standing.ABNORMAL
        elif entity in less and risk is None:
            standing = Standing.ASKED_LESS
        found.append(
            Affected(
                entity=entity,
                abnormal=entity in ill,
                distance=distance[entity],
                weight=config.weight(entity),
                standing=standing,
                risk=None if risk is None else round(risk.chance, 4),
                through=None if risk is None else risk.through,
                reason=risk.reason if risk else less.get(entity, ""),
            )
        )
    return tuple(sorted(found, key=lambda one: (not one.abnormal, one.distance, one.entity)))


def _scores(
    affected: Sequence[Affected], everybody: Collection[EntityId], config: ImpactConfig
) -> tuple[float, float]:
    """Affected share of the business weight, now and to be expected."""
    whole = sum(config.weight(one) for one in sorted(everybody))
    if not whole > 0:
        return 0.0, 0.0
    now = ahead = 0.0
    for one in affected:
        if one.abnormal:
            now += one.weight
            ahead += one.weight
        elif one.standing is Standing.AT_RISK:
            now += one.weight * config.at_risk
            ahead += one.weight * (one.risk or 0.0)
    return min(1.0, now / whole), min(1.0, ahead / whole)


def _entries(
    entry_points: Sequence[EntityId],
    graph: GraphSnapshot,
    telemetry: Telemetry,
    config: ImpactConfig,
) -> tuple[EntryImpact, ...]:
    """What users met at each, nearest first.

    Where one entry point calls another, the same requests come by both: only the outer one counts.
    Of those that call each other the first by name does.
    """
    # Most entry points are called by nobody, and a walk through the graph is not free.
    before = {
        one: set(graph.dependents(one)) - {one} if graph.callers(one) else set()
        for one in entry_points
    }

    def is_inner(one: EntityId) -> bool:
        outer = before[one].intersection(entry_points)
        return any(one not in before[other] or other < one for other in outer)

    return tuple(
        entry_impact(telemetry, one, config, counted=not is_inner(one)) for one in entry_points
    )


def _slos(
    reached: Collection[EntityId],
    telemetry: Telemetry | None,
    spent: Mapping[str, Spent],
    config: ImpactConfig,
) -> tuple[SloStatus, ...]:
    """The error budgets of those in the blast radius; the others' have nothing to do with it."""
    return tuple(
        status_of(slo, config.burn_rates, telemetry, spent.get(slo.title))
        for slo in config.slos
        if slo.entity in reached
    )


def _unknown(
    entry_points: Sequence[EntityId],
    entries: Sequence[EntryImpact],
    slos: Sequence[SloStatus],
    telemetry: Telemetry | None,
) -> tuple[str, ...]:
    """What could not be told, and why."""
    said: list[str] = []
    if not entry_points:
        said.append("No place where users come in depends on it, as far as the graph is known.")
    elif telemetry is None:
        said.append("There were no samples to count requests by.")
    elif len(entry_points) > len(entries):
        more = len(entry_points) - len(entries)
        said.append(f"The requests of {more} entry points farther away were not counted.")
    said += [f"{why}." for one in entries for why in one.unknown]
    said += [f"{one.name}: {one.unknown}." for one in slos if one.unknown]
    return tuple(said)
