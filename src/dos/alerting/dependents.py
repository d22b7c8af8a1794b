"""Alerts that an incident explains: their service depends on the root cause, and that was told.

    open incidents + graph ─▶ service ─▶ who was told of the incident that explains its trouble

What may be the cause itself is never explained by another. Nor is an alert that is more severe
than the incident, nor anything to a receiver that was not told of the incident.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Severity
from dos.model.incident import Incident

_SUSPECT = 0.05
"""Whoever is the cause with this probability is a suspect."""
_SERVICE = ("service", "app", "deployment", "job")
"""Labels that say whom an alert is about, the first that names an entity counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An incident's alert, and who heard of it."""

    fingerprint: str
    severity: Severity
    receivers: Collection[str]


Explained = Mapping[EntityId, Told]
"""By entity: the incident that explains its trouble."""


def explained(
    incidents: Iterable[tuple[Incident, Told]], graph: GraphSnapshot, least: float
) -> Explained:
    """What depends on a root cause that people were told of.

    Args:
        incidents: Open ones that somebody was told of.
        graph: The present.
        least: Probability of the root cause from which on it explains others.
    """
    suspects: set[EntityId] = set()
    found: dict[EntityId, Told] = {}
    for incident, told in incidents:
        cause = incident.root_cause
        if cause is None:
            suspects.update(incident.entities)  # any of them may be it
            continue
        suspects.update(cause.likely)
        suspects.update(one.entity for one in cause.ranked if one.probability >= _SUSPECT)
        if cause.top is None or cause.top.probability < least:
            suspects.update(incident.entities)
            continue
        for entity in graph.dependents(cause.top.entity):
            found.setdefault(entity, told)
    return {entity: told for entity, told in found.items() if entity not in suspects}


def services_of(labels: Mapping[str, str]) -> list[EntityId]:
    """Whom an alert may be about, the likeliest first."""
    namespace = labels.get("namespace", "")
    return [
        EntityId(entity)
        for label in _SERVICE
        if (name := labels.get(label))
        for entity in (f"{namespace}/{name}", name)
    ]


def explains(explained: Explained, labels: Mapping[str, str], severity: Severity) -> Told | None:
    """What explains an alert with these labels, if anything does."""
    if not explained:
        return None
    for entity in services_of(labels):
        told = explained.get(entity)
        if told is not None:
            return told if severity >= told.severity else None
    return None


def inhibit_rules(graph: GraphSnapshot) -> list[dict[str, list[str]]]:
    """The same as rules of Alertmanager's, as far as those can say it: by the graph alone.

    While an alert with severity critical fires about a service, warnings about those that depend
    on it are quiet. Services that depend on each other, in a circle, inhibit neither.
    """
    rules: list[dict[str, list[str]]] = []
    for entity in graph.entities:
        below = graph.dependencies(entity.id)
        names = sorted(one for one in graph.dependents(entity.id) if one not in below)
        if names:
            targets = "|".join(_literal(one) for one in names)
            rules.append(
                {
                    "source_matchers": [f"service={_quoted(entity.id)}", 'severity="critical"'],
                    "target_matchers": [f"service=~{_quoted(targets)}", 'severity!="critical"'],
                }
            )
    return rules


def _literal(text: str) -> str:
    """As a regular expression of RE2 that matches it and nothing else."""
    return "".join(f"\\{one}" if one in r"\.+*?()|[]{}^$" else one for one in text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
