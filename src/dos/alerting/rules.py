"""Rules: alerts on what a series says, without anything learned.

    samples ─▶ above, below or absent? ─▶ for a while? ─▶ posted alerts ─▶ the desk

A rule looks at every series with its metric whose entity and labels match, each by itself. An alert
begins when the condition has held `for` a while and ends when it has not held for
`keep_firing_for`, or when the series stops reporting. While it fires it is posted again each
minute, as Prometheus does: one whose rule is gone from the configuration ends by itself.

State is a few entries for the series that are near an alert; a step costs one comparison per sample
and rule, in columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic import ValidationError as _ValidationError

from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.duration import Duration
from dos.kit.errors import CorruptDataError
from dos.model.alert import LabelPairs, PostedAlert
from dos.model.ids import SeriesId
from dos.model.matchers import Matchers, all_match, checked_matchers, parse_matchers
from dos.model.telemetry import BoolArray, Float64Array, Int64Array, MetricBatch, Series, SeriesSpec

AGAIN = MINUTE
"""How often an alert that goes on is posted."""
STALE = 5 * MINUTE
"""A series without samples for so long says nothing any more."""
WATCHDOG = "Watchdog"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SPEC = re.compile(r",?(?:\.\d)?[%efgd]?")


def _templated(text: str) -> str:
    """Refuses what `fill` could not fill in."""
    for found in _FIELD.finditer(text):
        if found[0] in {"{{", "}}"}:
            continue
        inside = found[1]
        name, _, spec = (inside or "").partition(":")
        if inside is None or not _NAME.fullmatch(name):
            msg = (
                f"{found[0]!r}: write {{entity}}, {{metric}}, {{value}} or {{label}}; {{{{ for a {{"
            )
            raise ValueError(msg)
        if not _SPEC.fullmatch(spec) or (spec and name != "value"):
            msg = f"{found[0]!r}: only {{value}} has a format, such as {{value:.0%}}"
            raise ValueError(msg)
    return text


def _label_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not the name of a label"
        raise ValueError(msg)
    return name


Template = Annotated[str, Field(max_length=2000), AfterValidator(_templated)]
LabelName = Annotated[str, AfterValidator(_label_name)]


class RuleConfig(BaseModel):
    """One rule; it has exactly one of `above`, `below` and `absent_for`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    alert: LabelName
    """Name of the alert (`alertname`)."""
    metric: str = Field(min_length=1, max_length=256)
    """Name of the metric, as `dos` shows it; a pattern such as `cpu_*` is one for several."""
    entity: str = Field(default="*", min_length=1, max_length=256)
    """Whose: a pattern such as `shop/*`."""
    matchers: Annotated[str, AfterValidator(checked_matchers)] = ""
    """Which of their series, by labels, such as `code=~"5..",method!="GET"`."""
    above: float | None = Field(default=None, allow_inf_nan=False)
    """Fires where the value is greater."""
    below: float | None = Field(default=None, allow_inf_nan=False)
    """Fires where the value is less."""
    absent_for: Annotated[Duration | None, Field(gt=0)] = None
    """Fires where a series that was there reports nothing for so long."""
    for_: Annotated[Duration, Field(alias="for", ge=0)] = 0.0
    """How long the condition has to hold."""
    keep_firing_for: Annotated[Duration, Field(ge=0)] = 0.0
    """How long it must not hold before the alert ends."""
    severity: str = Field(default="warning", min_length=1, max_length=64)
    """The label `severity`: critical, error, warning, info."""
    labels: dict[LabelName, str] = Field(default_factory=dict)
    """Further labels."""
    annotations: dict[LabelName, Template] = Field(default_factory=dict)
    """Texts, with `{entity}`, `{metric}`, `{value}` (or `{value:.0%}`) and labels of the series."""

    @property
    def key(self) -> str:
        """Tells rules apart, also across restarts."""
        labels = ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        parts = (self.alert, self.metric, self.entity, self.matchers, self.severity, labels)
        return "/".join(parts)

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [self.above, self.below, self.absent_for]
        if sum(one is not None for one in given) != 1:
            msg = f"rule {self.alert}: say one of above, below and absent_for"
            raise ValueError(msg)
        return self


@dataclass(slots=True, kw_only=True)
class _Active:
    """A series that is near an alert, or in one."""

    since: Millis
    """Since when the condition holds."""
    seen: Millis
    """When it was last looked at."""
    value: float
    calm: Millis | None = None
    """Since when the condition holds no more, while the alert goes on."""
    posted: Millis | None = None
    """When the alert was last posted; None: it has not begun."""


@dataclass(slots=True, kw_only=True)
class _State:
    active: dict[str, dict[int, _Active]] = field(default_factory=dict)
    """By rule and series."""
    watchdog: Millis = Millis(0)


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class _Rule:
    """A rule, and which series it is about."""

    def __init__(self, config: RuleConfig) -> None:
        self.config = config
        self.matchers: Matchers = parse_matchers(config.matchers)
        self.mine: BoolArray = np.zeros(0, np.bool_)
        """`[series]`."""

    def takes(self, spec: SeriesSpec) -> bool:
        """Whether it is about a series."""
        return (
            fnmatchcase(spec.metric, self.config.metric)
            and fnmatchcase(spec.entity, self.config.entity)
            and all_match(self.matchers, dict(spec.labels))
        )

    def holds(self, value: Float64Array) -> BoolArray:
        """`[sample]` whether the condition holds; never for NaN."""
        if self.config.above is not None:
            return value > self.config.above
        if self.config.below is not None:
            return value < self.config.below
        return np.zeros(len(value), np.bool_)


class RuleBook:
    """All rules; see the module's text. Not thread-safe, reads no clock.

    Args:
        rules: The configured ones.
        watchdog: Whether an alert always fires, so that its absence tells that DOS is gone.
    """

    def __init__(self, rules: Sequence[RuleConfig] = (), *, watchdog: bool = False) -> None:
        self._rules = [_Rule(one) for one in rules]
        self._watchdog = watchdog
        self._specs: list[SeriesSpec] = []
        self._last: Int64Array = np.zeros(0, np.int64)
        """`[series]` time of the newest sample, or when the series was first seen; ms."""
        self._state = _State()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rules and not self._watchdog

    def register(self, series: Sequence[Series], now: Millis) -> None:
        """Learn of new series, in order of their ids."""
        if not self._rules or not series:
            return
        specs = [one.spec for one in series]
        self._specs += specs
        self._last = np.concatenate([self._last, np.full(len(specs), now, np.int64)])
        for rule in self._rules:
            takes = np.array([rule.takes(one) for one in specs], np.bool_)
            rule.mine = np.concatenate([rule.mine, takes])

    def step(self, batch: MetricBatch, now: Millis) -> list[PostedAlert]:
        """What begins, goes on or ends with these samples, or with the time."""
        alerts: list[PostedAlert] = []
        if self._watchdog and now >= self._state.watchdog:
            self._state.watchdog = Millis(now + AGAIN)
            alerts.append(_watchdog(now))
        if not self._rules:
            return alerts
        np.maximum.at(self._last, batch.series_id, batch.timestamp)
        for rule in self._rules:
            active = self._state.active.setdefault(rule.config.key, {})
            if rule.config.absent_for is not None:
                alerts += self._absent(rule, active, now)
                continue
            rows = np.flatnonzero(rule.mine[batch.series_id])
            value = batch.value[rows]
            for at, hit in _latest(batch.series_id[rows], rule.holds(value), active):
                series = int(batch.series_id[rows[at]])
                alerts += self._follow(rule, active, series, float(value[at]), hit, now)
            alerts += self._silent(rule, active, now)
        return alerts

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return _STATE.dump_json(self._state)

    def load(self, data: bytes, series: Sequence[Series], last: Int64Array, now: Millis) -> None:
        """Become what `dump` wrote, perhaps with other rules.

        Args:
            data: What `dump` wrote.
            series: All that are known, in order of their ids.
            last: `[series]` time of the newest sample, ms.
            now: The time.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        try:
            self._state = _STATE.validate_json(data)
        except _ValidationError as error:
            msg = f"The checkpoint of the rules cannot be read: {error.errors()[0]['msg']}."
            raise CorruptDataError(
                msg, remedy="Delete the checkpoint; what still holds begins anew."
            ) from error
        kept = {rule.config.key for rule in self._rules}
        self._state.active = {
            key: found for key, found in self._state.active.items() if key in kept
        }
        self.register(series, now)
        if self._rules:
            self._last = np.where(last > 0, last, self._last)

    def _follow(
        self,
        rule: _Rule,
        active: dict[int, _Active],
        series: int,
        value: float,
        hit: bool,
        now: Millis,
    ) -> list[PostedAlert]:
        """One series after a new sample."""
        known = active.get(series)
        if known is None:
            known = active[series] = _Active(since=now, seen=now, value=value)
        known.seen = now
        if hit:
            known.value, known.calm = value, None
            if now - known.since < rule.config.for_ * SECOND:
                return []
            return self._post(rule, series, known, now)
        if known.posted is None:
            del active[series]
            return []
        known.calm = now if known.calm is None else known.calm
        if now - known.calm < rule.config.keep_firing_for * SECOND:
            return self._post(rule, series, known, now)
        del active[series]
        return [self._alert(rule, series, known, now, now)]

    def _silent(self, rule: _Rule, active: dict[int, _Active], now: Millis) -> list[PostedAlert]:
        """Series that say nothing any more."""
        over = [series for series, one in active.items() if now - one.seen > STALE]
        ended = [(series, active.pop(series)) for series in over]
        return [
            self._alert(rule, series, one, now, now)
            for series, one in ended
            if one.posted is not None
        ]

    def _absent(self, rule: _Rule, active: dict[int, _Active], now: Millis) -> list[PostedAlert]:
        """Series that say nothing for too long, and those that are back."""
        wait = round((rule.config.absent_for or 0.0) * SECOND)
        gone = np.flatnonzero(rule.mine & (self._last < now - wait))
        alerts: list[PostedAlert] = []
        for series in gone.tolist():
            quiet = float(now - self._last[series]) / SECOND
            alerts += self._follow(rule, active, series, quiet, hit=True, now=now)
        back = set(active) - set(gone.tolist())
        for series in sorted(back):
            alerts += self._follow(rule, active, series, 0.0, hit=False, now=now)
        return alerts

    def _post(self, rule: _Rule, series: int, known: _Active, now: Millis) -> list[PostedAlert]:
        if known.posted is not None and now - known.posted < AGAIN:
            return []
        known.posted = now
        return [self._alert(rule, series, known, None, now)]

    def _alert(
        self, rule: _Rule, series: int, known: _Active, ended: Millis | None, now: Millis
    ) -> PostedAlert:
        spec, config = self._specs[SeriesId(series)], rule.config
        labels = {
            **dict(spec.labels),
            **config.labels,
            "alertname": config.alert,
            "service": spec.entity,
            "metric": spec.metric,
            "severity": config.severity,
        }
        annotations = {
            name: fill(text, spec, known.value) for name, text in config.annotations.items()
        }
        return PostedAlert(
            labels=_pairs(labels),
            annotations=_pairs(annotations),
            starts_at=known.since,
            ends_at=ended,
            updated_at=now,
        )


def fill(template: str, spec: SeriesSpec, value: float) -> str:
    """`template` with what is known of a series filled in; what is not known stays empty.

    >>> from dos.model.telemetry import Role
    >>> from dos.model.ids import EntityId
    >>> spec = SeriesSpec(entity=EntityId("db"), metric="cpu", role=Role.SATURATION)
    >>> fill("High CPU in {entity}: {value:.0%}", spec, 0.853)
    'High CPU in db: 85%'
    """
    facts = {**dict(spec.labels), "entity": spec.entity, "metric": spec.metric}

    def one(found: re.Match[str]) -> str:
        if found[0] in {"{{", "}}"}:
            return found[0][0]
        name, _, spec_ = (found[1] or "").partition(":")
        if name == "value":
            return format(round(value) if spec_.endswith("d") else value, spec_ or ".6g")
        return facts.get(name, "")

    return _FIELD.sub(one, template)


def _latest(
    series: np.ndarray, hit: BoolArray, active: dict[int, _Active]
) -> list[tuple[int, bool]]:
    """Place and verdict of the last sample of each series that matters."""
    last: dict[int, tuple[int, bool]] = {}
    matters = hit.copy()
    if active:
        matters |= np.isin(series, np.fromiter(active, np.int64, len(active)))
    if len(matters) and matters.any():
        # A series that crossed and came back within one batch is judged by where it ended.
        ids = set(series[matters].tolist())
        for at in np.flatnonzero(np.isin(series, np.fromiter(ids, np.int64, len(ids)))).tolist():
            last[int(series[at])] = (at, bool(hit[at]))
    return [last[one] for one in sorted(last)]


def _watchdog(now: Millis) -> PostedAlert:
    text = "This alert always fires. Where it is missing, DOS or the way to you is broken."
    return PostedAlert(
        labels=(("alertname", WATCHDOG), ("severity", "none")),
        annotations=(("summary", text),),
        starts_at=now,
        updated_at=now,
    )


def _pairs(labels: dict[str, str]) -> LabelPairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))
