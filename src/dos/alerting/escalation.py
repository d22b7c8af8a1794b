"""Escalation: who is told further when nobody says that he is on it.

    events of the step ─▶ alerts that somebody was told of ─▶ steps that are due ─▶ notifications

A policy is for the alerts that its matchers take; the first one that takes an alert counts. Its
time runs from the first notification about the alert. A step waits while a silence holds; there are
no further ones when somebody acknowledges, or when the alert is over. Who was told by a step is
told when it is over.

Who is on call is looked up when a step comes. Where it has nobody to tell, the next one comes at
once, as in PagerDuty, and those after it come earlier by as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from dos.alerting.decision import Decision, Reason, record
from dos.alerting.oncall import Schedule
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration, format_duration
from dos.kit.errors import CorruptDataError
from dos.model.alert import Alert, AlertState, Notification
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.ids import AlertId, derive_id
from dos.model.matchers import Matchers, all_match, checked_matchers, parse_matchers


class StepConfig(BaseModel):
    """A step of an escalation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    after: Annotated[Duration, Field(ge=0)]
    """How long after the first notification; 0: together with it."""
    receivers: tuple[str, ...] = ()
    """Names of the receivers that are told."""
    schedules: tuple[str, ...] = ()
    """Names of schedules: who is on call by them when the step comes is told as well. Where
    nobody is to be told, the next step comes at once."""


class EscalationConfig(BaseModel):
    """Who is told further when nobody acknowledges."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    matchers: Annotated[str, AfterValidator(checked_matchers)] = ""
    """Of which alerts, by labels: `severity=~"critical|sev1"`. Empty: of all."""
    steps: tuple[StepConfig, ...] = Field(min_length=1)
    """In order."""
    repeat: int = Field(default=0, ge=0, le=100)
    """How many times all steps are gone through again."""

    @field_validator("steps")
    @classmethod
    def _in_order(cls, value: tuple[StepConfig, ...]) -> tuple[StepConfig, ...]:
        for one in value:
            if not (one.receivers or one.schedules):
                msg = "a step needs at least one of receivers and schedules"
                raise ValueError(msg)
        for one, other in pairwise(value):
            if other.after <= one.after:
                msg = "each step has to come after the one before it"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.repeat and not self.steps[-1].after:
            msg = "a step that comes at once cannot be repeated; add one that comes later"
            raise ValueError(msg)
        return self


@dataclass(slots=True, kw_only=True)
class _Watched:
    """An alert that nobody is on."""

    alert: Alert
    since: Millis
    """When somebody was first told."""
    done: int = 0
    """Steps that are over, repetitions included."""
    ahead: int = 0
    """Milliseconds by which steps of this round come earlier, because some had nobody to tell."""
    told: list[str] = field(default_factory=list)
    """Receivers that steps have told."""
    open: bool = True
    """Whether steps are still to come; else it waits to be over."""
    decisions: list[Decision] = field(default_factory=list)


_STATE: TypeAdapter[dict[AlertId, _Watched]] = TypeAdapter(dict[AlertId, _Watched])


class Escalation:
    """Follows alerts until somebody is on them; see the module's text. Reads no clock.

    Args:
        policies: The first one whose matchers take an alert counts.
        silenced: Whether somebody wants quiet about alerts with these labels at that time.
        schedules: By name, all those that steps name.
    """

    def __init__(
        self,
        policies: Sequence[EscalationConfig] = (),
        silenced: Callable[[Mapping[str, str], Millis], bool] | None = None,
        schedules: Mapping[str, Schedule] | None = None,
    ) -> None:
        self._policies: list[tuple[Matchers, EscalationConfig]] = [
            (parse_matchers(one.matchers), one) for one in policies
        ]
        self._silenced = silenced or (lambda _labels, _at: False)
        self.schedules = schedules or {}
        self._watched: dict[AlertId, _Watched] = {}

    def follow(self, events: Iterable[Event], now: Millis) -> list[Event]:
        """What the events of a step lead to, and the steps that are due by now."""
        found: list[Event] = []
        for event in events:
            if isinstance(event, NotificationQueued):
                for alert in event.notification.alerts:
                    self._told(alert, now)
            elif isinstance(event, AlertChanged):
                found += self._changed(event.alert, now)
        for watched in self._watched.values():
            if watched.open:
                found += self._due(watched, now)
        return found

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Whom steps have told, oldest first."""
        watched = self._watched.get(alert_id)
        return tuple(watched.decisions) if watched else ()

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return _STATE.dump_json(self._watched)

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote, perhaps with other policies.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        try:
            self._watched = _STATE.validate_json(data)
        except ValidationError as error:
            msg = f"The checkpoint of escalations cannot be read: {error.errors()[0]['msg']}."
            raise CorruptDataError(
                msg, remedy="Delete the checkpoint; escalations that run begin anew."
            ) from error

    def _policy(self, alert: Alert) -> EscalationConfig | None:
        labels = dict(alert.labels)
        return next((one for when, one in self._policies if all_match(when, labels)), None)

    def _told(self, alert: Alert, now: Millis) -> None:
        """Somebody is told of an alert: the time of its policy begins to run."""
        if alert.state is not AlertState.FIRING or alert.id in self._watched:
            return
        if alert.acknowledged is None and self._policy(alert) is not None:
            self._watched[alert.id] = _Watched(alert=alert, since=now)

    def _changed(self, alert: Alert, now: Millis) -> list[Event]:
        watched = self._watched.get(alert.id)
        if watched is None:
            return []
        watched.alert = alert
        if alert.state is AlertState.RESOLVED:
            del self._watched[alert.id]
            return [_queued(alert, name, "resolved", now) for name in watched.told]
        if alert.acknowledged is not None:
            watched.open = False
            if not watched.told:
                del self._watched[alert.id]
        return []

    def _due(self, watched: _Watched, now: Millis) -> list[Event]:
        """Notifications of the steps whose time has come."""
        policy = self._policy(watched.alert)
        if policy is None:  # the configuration has it no more
            watched.open = False
            return []
        count, found = len(policy.steps), list[Event]()
        length = policy.steps[-1].after
        while watched.done < count * (1 + policy.repeat):
            number, step = divmod(watched.done, count)
            after = number * length + policy.steps[step].after
            if not step:
                watched.ahead = 0
            after -= watched.ahead / SECOND
            if now < watched.since + round(after * SECOND):
                return found
            if self._silenced(dict(watched.alert.labels), now):
                return found
            watched.done += 1
            told = self._take(watched, policy.steps[step], after, now)
            if not told and step + 1 < count:
                pause = policy.steps[step + 1].after - policy.steps[step].after
                watched.ahead += round(pause * SECOND)
            found += told
        watched.open = False
        return found

    def _take(self, watched: _Watched, step: StepConfig, after: float, now: Millis) -> list[Event]:
        """Notifications of a step whose time has come; none where nobody is on call."""
        alert, reason = watched.alert, Reason.TOLD_AT_ONCE
        if after > 0:
            text = f"Nobody has acknowledged it for {format_duration(round(after))}."
            alert, reason = _with(alert, text), Reason.TOLD_ESCALATED
        people = dict.fromkeys(step.receivers, "")
        for name in step.schedules:
            schedule = self.schedules[name]
            for shift in schedule.current(now):
                people.setdefault(shift.person, schedule.reason(shift))
        for name, note in people.items():
            record(watched.decisions, name, reason, now, note)
            if name not in watched.told:
                watched.told.append(name)
        if not people:
            note = f"nobody is on call in {', '.join(step.schedules)}"
            record(watched.decisions, "", Reason.NOBODY_ON_CALL, now, note)
        return [_queued(alert, name, f"step {watched.done}", now) for name in people]


def _with(alert: Alert, text: str) -> Alert:
    facts = {**dict(alert.annotations), "update": text}
    return replace(alert, annotations=tuple(sorted(facts.items())))


def _queued(alert: Alert, receiver: str, what: str, now: Millis) -> NotificationQueued:
    return NotificationQueued(
        notification=Notification(
            id=derive_id("ntf", alert.id, "escalation", what, receiver),
            receiver=receiver,
            alert=alert,
            created_at=now,
        )
    )
