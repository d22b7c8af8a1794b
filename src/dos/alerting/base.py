"""The port of the alerting room: its configuration, and what a notifier is.

Contract of a notifier (`dos.alerting.notifiers`, one file each):

* It is built once as `build(config, name=…, clock=…)`, without any I/O.
* `send` returns when the other side took the notification. It raises `TransientError` (the
  dispatcher tries again, and honours `retry_after`) or `PermanentError` (it tries a few times
  more, slowly, and then gives up). It never retries by itself.
* A notification may be sent again after a crash, with the same `id`: hand that on to the other
  side as an idempotency key where the channel has such a thing.
* `send` is never called twice at the same time on one notifier.
* `close` releases what it holds, and may be called when nothing was ever sent.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from dos.alerting.escalation import EscalationConfig
from dos.alerting.oncall_config import ScheduleConfig
from dos.alerting.rule_config import RuleConfig
from dos.alerting.words import checked_template
from dos.kit.duration import Duration
from dos.kit.secret import Secret
from dos.model.alert import Notification
from dos.model.impact import Severity

ROOM = "dos.alerting.notifiers"
"""The package whose modules are the built-in notifiers; also the entry-point group."""


class Notifier(Protocol):
    """A channel to people or to another system; see the contract above."""

    async def send(self, notification: Notification) -> None:
        """Deliver one notification.

        Raises:
            TransientError: Not delivered; trying again may help.
            PermanentError: Not delivered; somebody has to change something first.
        """
        ...

    async def close(self) -> None:
        """Release connections; idempotent."""
        ...


class Receiver(BaseModel):
    """Who is told, and from which severity on. The channel's own keys stand beside these."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """Name of the receiver; unique. It is part of what makes a notification the same one, so
    renaming a receiver makes it a new one."""
    min_severity: Severity = Severity.SEV4
    """Least severity this receiver is told about; `sev1` is the worst. What it was told about is
    always resolved."""
    subject: Annotated[str, AfterValidator(checked_template)] = ""
    """Template of the subject or title of what it is told, such as
    `{{ commonLabels.alertname }}`; empty: DOS's own words."""
    text: Annotated[str, AfterValidator(checked_template)] = ""
    """Template of the text below it."""
    fallback: str = ""
    """Name of a receiver that is told instead when this one could not be reached for half a
    minute."""


class ReplicasConfig(BaseModel):
    """Several DOS that watch the same and tell people once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    ledger: Secret
    """SQLAlchemy URL of a database that all replicas reach, for example
    `postgresql+asyncpg://dos@db.internal/dos_replicas`. Nothing else is kept there."""
    name: Annotated[str, Field(max_length=64)] = ""
    """Name of this replica, which no other has; empty: the host's."""


class AlertingConfig(BaseModel):
    """When notifications are sent, and to whom."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    group_wait: Duration = 0.0
    """How long the first notification of an incident waits, so that it carries a better
    founded cause. An incident that is over before then notifies nobody."""
    update_interval: Duration = 300.0
    """Least time between two notifications about the same incident when only its probable cause
    changed. A rise in severity and a resolve are always sent at once."""
    default_severity: Severity = Severity.SEV3
    """Severity of an incident whose impact is not known."""
    forecast_warning: Severity = Severity.SEV4
    """Severity of a forecast, for example of a full disk, that leaves time for working hours."""
    forecast_critical: Severity = Severity.SEV2
    """Severity of a forecast that something runs out soon."""
    external_url: str = ""
    """Where people reach this DOS, for links in notifications, for example
    `https://dos.example.com`. Without it notifications carry the path only."""
    routes_file: str = ""
    """A configuration file of Alertmanager (`alertmanager.yml`) with the routes, inhibition rules
    and time intervals that alerts go by. Its receivers are those below with the same names.
    Without it every alert goes to every receiver."""
    flap_calm: Annotated[Duration, Field(ge=0)] = 300.0
    """An alert that begins again within this time of having been told to be over is flapping: from
    then on it counts as firing until it has been over for so long. 0 switches this off."""
    inhibit_dependents: Annotated[float, Field(gt=0.5, le=1.01)] = 0.9
    """How probable the root cause of an incident has to be for alerts that others send about
    services that depend on it to be quiet. Only for receivers that were told of the incident, and
    never alerts that are more severe. 1.01: never."""
    rules: tuple[RuleConfig, ...] = ()
    """Alerts on what a series says: a threshold, or silence."""
    watchdog: bool = False
    """An alert, `Watchdog`, that always fires: route it to something that calls when it stops."""
    escalation: tuple[EscalationConfig, ...] = ()
    """Who is told further when nobody acknowledges; the first policy that takes an alert counts."""
    schedules: tuple[ScheduleConfig, ...] = ()
    """Who is on call when; steps of `escalation` name them."""
    replicas: ReplicasConfig | None = None
    """The other DOS that watch the same, if there are any: who of them tells what, and what people
    said to one of them, they share through a database."""
    receivers: tuple[Receiver, ...] = ()
    """Who is told."""

    @field_validator("external_url")
    @classmethod
    def _no_slash_at_end(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("rules")
    @classmethod
    def _rules_differ(cls, value: tuple[RuleConfig, ...]) -> tuple[RuleConfig, ...]:
        keys = [one.key for one in value]
        for rule in value:
            if keys.count(rule.key) > 1:
                msg = (
                    f"two rules {rule.alert!r} would be the same alert; give them another severity"
                )
                raise ValueError(msg)
        return value

    @field_validator("schedules")
    @classmethod
    def _schedules_differ(cls, value: tuple[ScheduleConfig, ...]) -> tuple[ScheduleConfig, ...]:
        names = [one.name for one in value]
        for name in names:
            if names.count(name) > 1:
                msg = f"two schedules are called {name!r}; give one of them another name"
                raise ValueError(msg)
        return value

    @field_validator("receivers")
    @classmethod
    def _names_unique(cls, value: tuple[Receiver, ...]) -> tuple[Receiver, ...]:
        names = [one.name for one in value]
        for name in names:
            if names.count(name) > 1:
                msg = f"two receivers are called {name!r}; give one of them another name"
                raise ValueError(msg)
        return value
