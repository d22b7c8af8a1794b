"""What an alert is about, as the book needs it: an incident, or a forecast.

A forecast has an alert of its own kind (`alertname="DosForecast"`), beside those of incidents: it
says what will happen and by when, so that it can be dealt with in working hours, and is urgent
only when it will happen soon.
"""

from __future__ import annotations

from dataclasses import dataclass

from dos.alerting import message
from dos.kit.clock import SECOND, Millis, to_rfc3339
from dos.kit.duration import format_duration
from dos.model.forecast import Forecast, ForecastReason, ForecastState
from dos.model.ids import IncidentId
from dos.model.impact import Severity
from dos.model.incident import Incident

FORECAST_NAME = "DosForecast"
FORECAST = "forecast"
"""The label that holds the id of a forecast."""

_ENDINGS = {
    ForecastReason.RELIEVED: "Use has fallen: there is room again.",
    ForecastReason.LEVELLED_OFF: "It no longer heads for its limit.",
    ForecastReason.SILENT: "The series stopped reporting: nobody knows how it goes on.",
}
_LOST = "What it was forecast from is lost; if it lasts it is told anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One thing that people are told of, as of its last change."""

    key: str
    """Its id."""
    identity: tuple[tuple[str, str], ...]
    """The labels that stay the same for its whole life."""
    severity: Severity
    labels: tuple[tuple[str, str], ...]
    """All of them, sorted."""
    annotations: tuple[tuple[str, str], ...]
    starts_at: Millis
    ends_at: Millis | None = None
    incident_id: IncidentId | None = None
    cause: str | None = None
    """The root cause named at present."""


def of_incident(incident: Incident, severity: Severity, external_url: str) -> Matter:
    """`incident` as a matter."""
    top = incident.root_cause.top if incident.root_cause else None
    return Matter(
        key=incident.id,
        identity=message.identity(incident),
        severity=severity,
        labels=message.labels(incident, severity),
        annotations=message.annotate(incident, severity, external_url),
        starts_at=incident.began_at,
        ends_at=incident.resolved_at,
        incident_id=incident.id,
        cause=top.entity if top else None,
    )


def of_forecast(forecast: Forecast, severity: Severity, external_url: str) -> Matter:
    """`forecast`, which is or was an alarm, as a matter."""
    began = forecast.at if forecast.alarmed_at is None else forecast.alarmed_at
    identity = (("alertname", FORECAST_NAME), (FORECAST, str(forecast.id)))
    labels = {
        **dict(forecast.labels),
        **dict(identity),
        "kind": forecast.kind.value,
        "metric": forecast.metric,
        "service": forecast.entity,
        "severity": severity.value,
    }
    return Matter(
        key=forecast.id,
        identity=identity,
        severity=severity,
        labels=tuple(sorted(labels.items())),
        annotations=_annotate(forecast, severity, external_url, began),
        starts_at=began,
        ends_at=forecast.ended_at,
    )


def withdrawn(annotations: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The annotations of a forecast that nobody can follow any more."""
    facts = dict(annotations)
    facts["ending"] = _LOST
    facts["description"] = f"Resolved: {_LOST}\n{facts.get('description', '')}".strip()
    return tuple(sorted(facts.items()))


def _annotate(
    forecast: Forecast, severity: Severity, external_url: str, began: Millis
) -> tuple[tuple[str, str], ...]:
    facts = {
        "summary": forecast.title,
        "since": to_rfc3339(began),
        "link": f"{external_url}/forecasts/{forecast.id}",
        "affected": forecast.entity,
        "evidence": forecast.evidence,
    }
    for name, time in (
        ("exhausted_at", forecast.exhausted_at),
        ("earliest", forecast.earliest),
        ("latest", forecast.latest),
    ):
        if time is not None:
            facts[name] = to_rfc3339(time)
    lines = [f"Severity: {severity.value}. {forecast.evidence}", f"Since: {facts['since']}."]
    if forecast.state is ForecastState.OVER:
        ended = began if forecast.ended_at is None else forecast.ended_at
        facts["duration"] = format_duration(max(0, round((ended - began) / SECOND)))
        facts["ending"] = _ENDINGS.get(forecast.reason, "It is over.")
        lines.insert(0, f"Resolved: {facts['ending']} It lasted {facts['duration']}.")
    elif "exhausted_at" in facts:
        until = f" (between {facts['earliest']} and {facts['latest']})" if (
            forecast.earliest != forecast.latest and {"earliest", "latest"} <= facts.keys()
        ) else ""  # fmt: skip
        lines.insert(1, f"Expected: {facts['exhausted_at']}{until}.")
    lines.append(f"Forecast: {facts['link']}")
    facts["description"] = "\n".join(lines)
    return tuple(sorted((name, value) for name, value in facts.items() if value))
