"""Alerts on error budgets that burn too fast.

One alert per objective and severity: it begins when the burn rate is over a limit in both windows
of that severity, and ends when it is so in none of them. What is said is of the fastest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from dos.kit.clock import MINUTE, Millis
from dos.kit.duration import format_duration
from dos.kit.errors import CorruptDataError
from dos.model.alert import PostedAlert
from dos.model.impact import Burn, SloStatus

NAME = "ErrorBudgetBurn"
EVERY = MINUTE
"""How often budgets are looked at, and an alert that goes on is posted."""


@dataclass(slots=True, kw_only=True)
class _State:
    looked_at: Millis = Millis(0)
    since: dict[str, Millis] = field(default_factory=dict)
    """When each alert that fires began, by `severity/objective`."""
    posted: dict[str, PostedAlert] = field(default_factory=dict)
    """The same, as it was last posted."""


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class BurnAlerts:
    """Follows error budgets; see the module's text. Reads no clock.

    Args:
        severities: By the two windows of a burn rate, in seconds: the label of its alert; empty
            where there is none.
    """

    def __init__(self, severities: Mapping[tuple[float, float], str]) -> None:
        self._severities = {windows: one for windows, one in severities.items() if one}
        self._state = _State()

    @property
    def is_empty(self) -> bool:
        """Whether no burn rate makes an alert."""
        return not self._severities

    def is_due(self, now: Millis) -> bool:
        """Whether it is time to look again."""
        return bool(self._severities) and now >= self._state.looked_at + EVERY

    def step(self, budgets: Sequence[SloStatus], now: Millis) -> list[PostedAlert]:
        """What begins, goes on or ends; `budgets` are all objectives as they stand at `now`."""
        state, alerts = self._state, list[PostedAlert]()
        state.looked_at = now
        burning: dict[str, tuple[str, SloStatus, Burn]] = {}
        for budget in budgets:
            for burn in budget.burns:  # the fastest first
                severity = self._severities.get((burn.long, burn.short))
                if severity and burn.is_burning:
                    burning.setdefault(f"{severity}/{budget.name}", (severity, budget, burn))
        for key, (severity, budget, burn) in burning.items():
            since = state.since.setdefault(key, now)
            state.posted[key] = _alert(severity, budget, burn, since, now)
            alerts.append(state.posted[key])
        for key in sorted(set(state.since) - set(burning)):
            del state.since[key]
            alerts.append(_ended(state.posted.pop(key), now))
        return alerts

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return _STATE.dump_json(self._state)

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        try:
            self._state = _STATE.validate_json(data)
        except ValidationError as error:
            msg = f"The checkpoint of budgets cannot be read: {error.errors()[0]['msg']}."
            raise CorruptDataError(
                msg, remedy="Delete the checkpoint; what still burns begins anew."
            ) from error


def _alert(severity: str, budget: SloStatus, burn: Burn, since: Millis, now: Millis) -> PostedAlert:
    windows = f"{format_duration(round(burn.long))} and {format_duration(round(burn.short))}"
    said = [f"{burn.rate:.3g} times as fast as the objective of {budget.objective:.6g} allows"]
    said.append(f"over {windows}")
    left = "" if budget.burned is None else f"; {max(0.0, 1 - budget.burned):.0%} of it is left"
    if budget.exhausted_in and budget.burned is not None and budget.burned < 1:
        left += f", for {format_duration(round(budget.exhausted_in))}"
    return PostedAlert(
        labels=(
            ("alertname", NAME),
            ("service", budget.entity),
            ("severity", severity),
            ("slo", budget.name),
        ),
        annotations=(
            ("description", f"The error budget burns {' '.join(said)}{left}."),
            ("summary", f"{budget.name}: error budget burns {burn.rate:.3g} times too fast"),
        ),
        starts_at=since,
        updated_at=now,
    )


def _ended(alert: PostedAlert, now: Millis) -> PostedAlert:
    return PostedAlert(
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.starts_at,
        ends_at=now,
        updated_at=now,
    )
