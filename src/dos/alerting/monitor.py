"""Thresholds on the latest values, for programs that embed DOS.

    >>> from dos import MetricMonitor
    >>> monitor = MetricMonitor()
    >>> monitor.metrics["checkout"] = {"cpu_usage": 0.85, "error_rate": 0.02}
    >>> [dict(one.annotations)["summary"] for one in monitor.check_metrics()]
    ['High CPU in checkout: 85%']

Configured rules (`dos.alerting.rules`) look at all series of a running DOS; this looks at numbers
that a program hands in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dos.alerting.manager import AlertManager, Outcome
from dos.alerting.rule_config import fill
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import ConfigError
from dos.model.alert import Alert, AlertState, fingerprint_of
from dos.model.ids import AlertId, EntityId, derive_id
from dos.model.impact import Severity
from dos.model.telemetry import Role, SeriesSpec

Metrics = dict[str, dict[str, float]]
"""Latest value by service and metric; ratios as 0–1, times in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """When a metric is too high, and what is said then."""

    above: float
    severity: Severity = Severity.SEV3
    text: str = "High {metric} in {entity}: {value}"
    """With `{entity}`, `{metric}` and `{value}` or, with a format, `{value:.0%}`."""
    severe_above: float = math.inf
    """Where it is one step more severe."""

    def __post_init__(self) -> None:
        if math.isnan(self.above) or self.severe_above < self.above:
            msg = "A threshold is a number, and severe_above is not below it."
            raise ConfigError(msg)

    def severity_of(self, value: float) -> Severity:
        """How bad `value` is, which is above the threshold."""
        if value > self.severe_above and self.severity is not Severity.SEV1:
            worse = list(Severity).index(self.severity) - 1
            return list(Severity)[worse]
        return self.severity


THRESHOLDS: Mapping[str, Threshold] = {
    "cpu_usage": Threshold(above=0.8, severe_above=0.95, text="High CPU in {entity}: {value:.0%}"),
    "memory_usage": Threshold(
        above=0.9, severe_above=0.97, text="High memory in {entity}: {value:.0%}"
    ),
    "error_rate": Threshold(
        above=0.1,
        severe_above=0.25,
        severity=Severity.SEV2,
        text="High error rate in {entity}: {value:.1%}",
    ),
}
"""Where none are given."""


class MetricMonitor:
    """Compares `metrics` with `thresholds`; not thread-safe.

    Args:
        thresholds: By name of the metric; a number alone is the limit.
        manager: Told by `trigger_alert`.
        clock: For the times of alerts.
    """

    def __init__(
        self,
        thresholds: Mapping[str, Threshold | float] | None = None,
        *,
        manager: AlertManager | None = None,
        clock: Clock | None = None,
    ) -> None:
        given = THRESHOLDS if thresholds is None else thresholds
        self.metrics: Metrics = {}
        self.thresholds: dict[str, Threshold] = {
            name: one if isinstance(one, Threshold) else Threshold(above=one)
            for name, one in given.items()
        }
        self.manager = manager or AlertManager()
        self._clock = clock or SystemClock()
        self._firing: dict[tuple[str, str], Alert] = {}

    def check_metrics(self) -> list[Alert]:
        """What is too high now, and what no longer is since the last call (as resolved).

        A value that is NaN, or not there any more, says nothing: its alert goes on if the service
        is still in `metrics`, and is over if the service is gone.
        """
        found: list[Alert] = []
        now = self._clock.now()
        for (entity, metric), alert in list(self._firing.items()):
            value = self.metrics.get(entity, {}).get(metric)
            limit = self.thresholds.get(metric)
            calm = value is not None and limit is not None and value <= limit.above
            if calm or limit is None or entity not in self.metrics:
                del self._firing[entity, metric]
                found.append(replace(alert, state=AlertState.RESOLVED, ends_at=now, updated_at=now))
        for entity, values in self.metrics.items():
            for metric, value in values.items():
                limit = self.thresholds.get(metric)
                if limit is not None and value > limit.above:
                    found.append(self._fire(entity, metric, value, limit))
        return found

    async def trigger_alert(self, alert: Alert | None = None) -> list[tuple[Alert, Outcome]]:
        """Report an alert, or what `check_metrics` finds, to the manager; it tells what is new."""
        alerts = self.check_metrics() if alert is None else [alert]
        return await self.manager.notify(*alerts)

    def _fire(self, entity: str, metric: str, value: float, limit: Threshold) -> Alert:
        now, known = self._clock.now(), self._firing.get((entity, metric))
        spec = SeriesSpec(entity=EntityId(entity), metric=metric, role=Role.OTHER)
        severity = limit.severity_of(value)
        identity = (("alertname", "MetricThreshold"), ("metric", metric), ("service", entity))
        labels = tuple(sorted((*identity, ("severity", severity.value))))
        print_ = fingerprint_of(identity)
        started = known.starts_at if known else now
        alert = Alert(
            id=known.id if known else AlertId(derive_id("alr", print_, now)),
            fingerprint=print_,
            state=AlertState.FIRING,
            severity=severity,
            labels=labels,
            annotations=(("summary", fill(limit.text, spec, value)),),
            starts_at=started,
            updated_at=now,
        )
        self._firing[entity, metric] = alert
        return alert
