"""The blast radius: who is affected now, who is merely asked for less, and who will follow.

Trouble travels from callee to caller, so whoever depends on an abnormal entity, directly or through
others, is at risk. How likely it shows symptoms too, if nothing is done:

1. A caller of an abnormal callee follows with a chance s that depends on how the callee suffers: it
   fails, is slow, or is only short of a resource. What the call is for, and how many other callers
   show symptoms, was tried and told no more.
2. Who follows does so soon: half of those within a time h. So a caller that has stayed normal for
   a seconds follows with the chance s·S / (1 - s + s·S), S = 2^(-a/h) (Bayes).
3. From caller to caller the chances are multiplied along the calls, and several ways are joined by
   a noisy-or, nearest to the trouble first. Ways back within a cycle do not count: nobody falls ill
   of itself.

s and h (`FOLLOWS`) are fitted to what detection saw in incidents of the simulator; how well they
hold is printed by `benchmarks/impact.py` and written in docs/impact.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.graph import EdgeKind, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Role


class Symptom(StrEnum):
    """How an entity suffers, as its callers see it."""

    FAILING = "failing"
    SLOW = "slow"
    SHORT = "short"
    """Of a resource, or of something else that no caller notices at once."""


FOLLOWS: Mapping[Symptom, tuple[float, float]] = {
    Symptom.FAILING: (0.55, 40.0),
    Symptom.SLOW: (0.5, 20.0),
    Symptom.SHORT: (0.5, 100.0),
}
"""By how the callee suffers: share of callers, still normal when it begins, that will show
symptoms, and the seconds within which half of these do."""
LIKELY = 0.5
"""From this chance on one is expected to follow."""
_NOTHING = 0.05
"""Traffic below this share of the expected is lost altogether."""
_LESS = {Role.TRAFFIC, Role.SATURATION, Role.LATENCY, Role.ERRORS, Role.OTHER}
"""Roles of which less is no trouble where there is less to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """How likely an entity that is still normal will show symptoms."""

    chance: float
    through: EntityId
    """The callee from which trouble most likely comes."""
    reason: str


def asked_less(
    abnormal: Collection[EntityId],
    root: EntityId | None,
    graph: GraphSnapshot,
    anomalies: Sequence[Anomaly],
) -> dict[EntityId, str]:
    """Those of `abnormal` in which nothing is wrong: they get fewer requests because of the cause.

    All they show is less traffic, and with it less of what traffic brings: work, waiting, errors.
    Not the probable root, and not where users come in: if fewer come there, something keeps them
    out. Nor one whose traffic is gone altogether while the root is not known: it may be down.

    Returns:
        Entities with the reason, as a sentence.
    """
    shown: dict[EntityId, list[Anomaly]] = {}
    for one in anomalies:
        shown.setdefault(one.entity, []).append(one)
    found: dict[EntityId, str] = {}
    for entity in sorted(abnormal):
        mine = shown.get(entity, [])
        less = [one for one in mine if one.role is Role.TRAFFIC]
        if not less or entity == root:
            continue
        if not all(_is_less(one) for one in mine):
            continue
        worst = min(less, key=lambda one: (one.observed - one.expected, one.metric))
        if root is None and worst.observed <= _NOTHING * worst.expected:
            continue
        found[entity] = (
            f"{entity} is asked for less ({worst.metric} {worst.observed:.3g} against "
            f"{worst.expected:.3g} expected) and shows nothing else."
        )
    asked = _used_by(set(abnormal) - found.keys(), graph)
    return {entity: reason for entity, reason in found.items() if entity in asked}


def downstream_of_trouble(ill: Iterable[EntityId], graph: GraphSnapshot) -> set[EntityId]:
    """The abnormal entities and all their dependents."""
    reached = set(ill)
    queue = deque(reached)
    while queue:
        for caller in graph.callers(queue.popleft()):
            if caller not in reached:
                reached.add(caller)
                queue.append(caller)
    return reached


def distances(
    root: EntityId | None, ill: Collection[EntityId], reached: set[EntityId], graph: GraphSnapshot
) -> dict[EntityId, int]:
    """Calls between each reached entity and the root, whichever way the calls go.

    Without a root the abnormal entities are at 0. An entity that no path joins to the root is
    as far as nothing in the graph can be: the number of its entities.
    """
    starts = sorted(ill) if root is None else [root]
    distance = dict.fromkeys(starts, 0)
    queue = deque(starts)
    while queue:
        here = queue.popleft()
        for there in graph.neighbours(here):
            if there not in distance:
                distance[there] = distance[here] + 1
                queue.append(there)
    return {one: distance.get(one, len(graph.entities)) for one in reached}


def risks(
    ill: Collection[EntityId],
    graph: GraphSnapshot,
    anomalies: Sequence[Anomaly],
    now: Millis | None,
) -> dict[EntityId, Risk]:
    """How likely each dependent of `ill` that is still normal will show symptoms.

    Args:
        ill: Entities in which something is wrong.
        graph: Who uses whom.
        anomalies: What they show; without them all are held to be failing.
        now: The present; None where times do not matter.

    Cost: O(entities + edges).
    """
    trouble = _Trouble(
        sick=_symptoms(ill, anomalies),
        since=_since(ill, anomalies),
        kinds={(edge.caller, edge.callee): edge.kind for edge in graph.edges},
        graph=graph,
        now=now,
    )
    at_risk = downstream_of_trouble(ill, graph) - set(ill)
    found: dict[EntityId, Risk] = {}
    for entity in _callees_first(at_risk, ill, graph):
        ways: list[tuple[float, EntityId, str]] = []
        for callee in graph.callees(entity):
            if callee in trouble.sick:
                chance, reason = trouble.direct(entity, callee)
            elif callee in found:
                chance, reason = trouble.passed_on(entity, callee, found[callee])
            else:
                continue
            ways.append((chance, callee, reason))
        if ways:
            found[entity] = _joined(ways)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """Who suffers how and since when, and who uses whom for what."""

    sick: Mapping[EntityId, Symptom]
    since: Mapping[EntityId, Millis]
    kinds: Mapping[tuple[EntityId, EntityId], EdgeKind]
    graph: GraphSnapshot
    now: Millis | None

    def direct(self, entity: EntityId, callee: EntityId) -> tuple[float, str]:
        """The chance that trouble of an abnormal callee reaches `entity`, and why."""
        symptom, kind = self.sick[callee], self.kinds[entity, callee]
        share, half = FOLLOWS[symptom]
        reason = f"{entity} uses {callee} ({kind.value}), which {_SUFFERS[symptom]}"
        if self.now is not None and callee in self.since:
            waited = max(0.0, (self.now - self.since[callee]) / SECOND)
            later = 0.5 ** (waited / half)
            share = share * later / (1.0 - share + share * later)
            reason += f"; it has stayed normal for {waited:.0f} s"
        return share, reason

    def passed_on(self, entity: EntityId, callee: EntityId, risk: Risk) -> tuple[float, str]:
        """The chance that trouble reaches `entity` by way of a callee that is still normal."""
        kind = self.kinds[entity, callee]
        reason = f"{entity} uses {callee} ({kind.value}), which is normal and "
        reason += f"{risk.chance:.0%} likely to follow {risk.through}"
        return risk.chance * FOLLOWS[Symptom.FAILING][0], reason


def _joined(ways: Sequence[tuple[float, EntityId, str]]) -> Risk:
    spared = 1.0
    for chance, _, _ in ways:
        spared *= 1.0 - chance
    _, through, reason = max(ways, key=lambda way: (way[0], way[1]))
    more = f", and {len(ways) - 1} more that may pass trouble on" if len(ways) > 1 else ""
    return Risk(chance=1.0 - spared, through=through, reason=f"{reason}{more}.")


_SUFFERS = {
    Symptom.FAILING: "fails",
    Symptom.SLOW: "is slow",
    Symptom.SHORT: "shows nothing yet that its callers feel",
}


def _callees_first(
    at_risk: Collection[EntityId], ill: Collection[EntityId], graph: GraphSnapshot
) -> list[EntityId]:
    """Those at risk by their distance from trouble; in a cycle the nearer one comes first."""
    level = dict.fromkeys(sorted(ill), 0)
    queue = deque(level)
    while queue:
        here = queue.popleft()
        for caller in graph.callers(here):
            if caller not in level:
                level[caller] = level[here] + 1
                queue.append(caller)
    return sorted(at_risk, key=lambda one: (level.get(one, len(level)), one))


def _symptoms(ill: Collection[EntityId], anomalies: Sequence[Anomaly]) -> dict[EntityId, Symptom]:
    found = dict.fromkeys(ill, Symptom.SHORT if anomalies else Symptom.FAILING)
    for one in anomalies:
        if one.entity not in found:
            continue
        above = one.direction is Direction.ABOVE
        if (one.role is Role.ERRORS and above) or (one.role is Role.AVAILABILITY and not above):
            found[one.entity] = Symptom.FAILING
        elif one.role is Role.LATENCY and above and found[one.entity] is not Symptom.FAILING:
            found[one.entity] = Symptom.SLOW
    return found


def _since(ill: Collection[EntityId], anomalies: Sequence[Anomaly]) -> dict[EntityId, Millis]:
    """Since when each abnormal entity shows anything."""
    found: dict[EntityId, Millis] = {}
    for one in anomalies:
        if one.entity in ill:
            found[one.entity] = min(one.started_at, found.get(one.entity, one.started_at))
    return found


def _is_less(anomaly: Anomaly) -> bool:
    """Whether it is what less traffic brings; fewer hits of a cache, say, are not."""
    fell = anomaly.direction is Direction.BELOW and anomaly.role in _LESS
    return fell and (anomaly.role is not Role.OTHER or "ratio" not in anomaly.metric)


def _used_by(entities: Iterable[EntityId], graph: GraphSnapshot) -> set[EntityId]:
    """All that `entities` depend on, directly or not."""
    used: set[EntityId] = set()
    queue = deque(sorted(entities))
    while queue:
        for callee in graph.callees(queue.popleft()):
            if callee not in used:
                used.add(callee)
                queue.append(callee)
    return used
