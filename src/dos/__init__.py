"""Dependency Ops Sentinel: watches services and their dependencies, names the root cause.

The public classes are importable from here and loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dos.kit.version import __version__

# Not in __all__: `from dos import *` would load every room.
_PUBLIC = {
    "AlertManager": "dos.alerting.manager",
    "Attention": "dos.detect.nets.attention",
    "DependencyGNN": "dos.rca.nets.graph",
    "EmailNotifier": "dos.alerting.notifiers.email",
    "ImpactAnalyzer": "dos.impact.analyzer",
    "IncidentSimulator": "dos.simulate.generator",
    "MSTeamsNotifier": "dos.alerting.notifiers.msteams",
    "MetricMonitor": "dos.alerting.monitor",
    "NotificationChannel": "dos.alerting.channel",
    "OpsgenieNotifier": "dos.alerting.notifiers.opsgenie",
    "PagerDutyNotifier": "dos.alerting.notifiers.pagerduty",
    "RealTimeAnomalyDetector": "dos.detect.realtime",
    "ServiceGenerator": "dos.simulate.generator",
    "SlackNotifier": "dos.alerting.notifiers.slack",
    "TemporalAnalyzer": "dos.detect.nets.temporal",
}

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(module), name)
