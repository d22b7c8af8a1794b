"""What a notification says: the alert's labels and annotations, and the text for people.

Written for somebody who was asleep a minute ago: what and how bad, the probable cause with its
best evidence, where users notice it, since when, and where to look. The annotations carry each
fact by itself for machines, and `description` all of them as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from dos.alerting.text import is_web
from dos.kit.clock import SECOND, Millis, to_rfc3339
from dos.kit.duration import format_duration
from dos.model.alert import Alert, AlertState, Notification
from dos.model.impact import Severity
from dos.model.incident import Incident, IncidentReason
from dos.model.rootcause import Hypothesis, RootCause, Stance

ALERT_NAME = "DosIncident"
_NAMES_SHOWN = 5
_MOST_LISTED = 20
"""Alerts of a group that are listed below the first."""

_ENDINGS = {
    IncidentReason.RECOVERED: "Everything in it has been normal for long enough.",
    IncidentReason.STALE: "Its abnormal series stopped reporting: the recovery is not proven.",
}


def identity(incident: Incident) -> tuple[tuple[str, str], ...]:
    """The labels that identify the alert; they stay the same for the incident's whole life."""
    return (("alertname", ALERT_NAME), ("incident", incident.id))


def labels(incident: Incident, severity: Severity) -> tuple[tuple[str, str], ...]:
    """All labels, sorted: the identity, and what may change (`service`, `severity`)."""
    top = incident.root_cause.top if incident.root_cause else None
    service = top.entity if top else next(iter(incident.entities), "")
    found = {**dict(identity(incident)), "severity": severity.value}
    if service:
        found["service"] = service
    return tuple(sorted(found.items()))


def annotate(
    incident: Incident, severity: Severity, external_url: str
) -> tuple[tuple[str, str], ...]:
    """The facts about `incident`, each under its name, and `description` with all of them."""
    facts = {
        "summary": incident.title,
        "since": to_rfc3339(incident.began_at),
        "link": f"{external_url}/incidents/{incident.id}",
        "affected": _listed(incident.entities),
    }
    if incident.impact:
        # In the end it has calmed down; that is no reason for what people were told it was.
        if severity is incident.impact.severity:
            facts["severity_reason"] = " ".join(incident.impact.reasons)
        facts["entry_points"] = _listed(incident.impact.entry_points)
    if incident.root_cause:
        facts |= _cause(incident.root_cause)
    if incident.resolved_at is not None:
        lasted = round((incident.resolved_at - incident.began_at) / SECOND)
        facts["duration"] = format_duration(max(0, lasted))
        facts["ending"] = _ENDINGS.get(incident.reason, "") or (
            f"It became part of {incident.merged_into}." if incident.merged_into else "It is over."
        )
    facts["description"] = "\n".join(_lines(facts, severity))
    return tuple(sorted((name, value) for name, value in facts.items() if value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded(Notification):
    """A notification in words of its receiver's own; empty ones are DOS's."""

    own_subject: str = ""
    own_text: str = ""


def subject_of(notification: Notification) -> str:
    """One line: of a group, its first alert and how many there are beside it."""
    if isinstance(notification, Worded) and notification.own_subject:
        return notification.own_subject
    first = subject(notification.alert)
    more = len(notification.others)
    return f"{first} (and {more} more)" if more else first


def body_of(notification: Notification) -> str:
    """The text below the subject; of a group, that of the first and a line for each further one."""
    if isinstance(notification, Worded) and notification.own_text:
        return notification.own_text
    lines = [
        body(notification.alert),
        *(subject(one) for one in notification.others[:_MOST_LISTED]),
    ]
    left = len(notification.others) - _MOST_LISTED
    if left > 0:
        lines.append(f"… and {left} more")
    return "\n".join(line for line in lines if line)


def severity_of(notification: Notification) -> Severity:
    """The worst of what it is about: of a group that fires, of what still fires in it."""
    return min(one.severity for one in notification.alerts if one.state is notification.state)


def links_of(notification: Notification, most: int) -> dict[str, str]:
    """What each URL is called that a browser can open and that has at most `most` characters."""
    facts = dict(notification.alert.annotations)
    links: dict[str, str] = {}
    for url, text in (
        (facts.get("link", ""), "Details"),
        (facts.get("runbook_url", ""), "Runbook"),
        (notification.alert.generator_url, "Source"),
    ):
        if is_web(url, most):
            links.setdefault(url, text)
    return links


def key_of(notification: Notification) -> str:
    """A text for the receiver and what the notification is about; others make another one."""
    # Quoted, a name has no slash: no two pairs make the same key.
    name = quote(notification.receiver, safe="", errors="backslashreplace")
    return f"dos-{name}/{notification.subject}"


def subject(alert: Alert) -> str:
    """One line: state, severity and title."""
    facts, labels = dict(alert.annotations), dict(alert.labels)
    title = facts.get("summary") or labels.get("alertname", alert.fingerprint)
    if alert.state is AlertState.RESOLVED:
        duration = facts.get("duration")
        return f"[RESOLVED] {title}" + (f", after {duration}" if duration else "")
    state = "UPDATE" if "update" in facts else "FIRING"
    return f"[{state} {alert.severity.value}] {title}"


def body(alert: Alert) -> str:
    """The text below the subject."""
    facts = dict(alert.annotations)
    lines = [facts.get("update", ""), facts.get("description", "")]
    return "\n".join(line for line in lines if line)


def _lines(facts: dict[str, str], severity: Severity) -> list[str]:
    lines: list[str] = []
    if "ending" in facts:
        lines.append(f"Resolved: {facts['ending']} It lasted {facts['duration']}.")
    lines.append(f"Severity: {severity.value}. {facts.get('severity_reason', '')}".rstrip())
    if "cause" in facts:
        cause = f"Probable cause: {facts['cause']} ({facts['cause_probability']})"
        lines.append(f"{cause}: {facts['evidence']}" if facts.get("evidence") else f"{cause}.")
        if facts.get("also_possible"):
            lines.append(f"Also possible: {facts['also_possible']}.")
    elif "cause_unknown" in facts:
        lines.append(f"Probable cause: {facts['cause_unknown']}")
    if facts.get("entry_points"):
        lines.append(f"Users come in through: {facts['entry_points']}.")
    lines += [
        f"Abnormal: {facts['affected']}.",
        f"Since: {facts['since']}.",
        f"Incident: {facts['link']}",
    ]
    return lines


def _cause(root: RootCause) -> dict[str, str]:
    top = root.top
    if top is None:
        best = root.ranked[0] if root.ranked else None
        closest = f"; closest is {_share(best)}" if best else ""
        return {"cause_unknown": f"none stands out (unknown {root.unknown:.0%}{closest})."}
    evidence = next((one.text for one in top.evidence if one.stance is Stance.FOR), "")
    return {
        "cause": top.entity,
        "cause_metric": top.metric or "",
        "cause_probability": f"{top.probability:.0%}",
        "evidence": evidence,
        "also_possible": ", ".join(_share(one) for one in root.ranked[1:3]),
    }


def _share(hypothesis: Hypothesis) -> str:
    return f"{hypothesis.entity} ({hypothesis.probability:.0%})"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def rose(before: Severity, after: Severity) -> str:
    """The sentence that opens an update about severity."""
    return f"Severity rose from {before.value} to {after.value}."


def renamed(before: str | None, after: str, at: Millis) -> str:
    """The sentence that opens an update about the cause."""
    was = f"instead of {before}" if before else "no cause was named before"
    return f"At {to_rfc3339(at)} the probable cause became {after} ({was})."
