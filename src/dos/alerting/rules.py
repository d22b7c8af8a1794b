"""Rules: alerts on what series say, and on how much about an entity is abnormal.

    samples ─▶ value, ratio, change ─▶ above, below or absent? ─┐
                                                                ├▶ for a while? ─▶ posted alerts
    anomalies ─▶ enough of them, strong enough? ────────────────┘

A rule looks at every series with its metric whose entity and labels match, each by itself; one on
anomalies looks at every entity. An alert begins when the condition has held `for` a while and ends
when it has not held for `keep_firing_for`, or when the series stops reporting. While it fires it is
posted to the desk again each minute, as Prometheus does: one whose rule is gone from the
configuration ends by itself.

State is a few entries for what is near an alert, and the past of what is compared with it; a step
costs one comparison per sample and rule, in columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
from pydantic import TypeAdapter
from pydantic import ValidationError as _ValidationError

from dos.alerting.rule_config import AnomalyCondition, RuleConfig, fill
from dos.alerting.rule_values import STALE, Memory, RuleValues
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.errors import CorruptDataError
from dos.model.alert import LabelPairs, PostedAlert
from dos.model.anomaly import Anomaly
from dos.model.ids import EntityId
from dos.model.matchers import all_match
from dos.model.telemetry import BoolArray, Int64Array, MetricBatch, Series, SeriesSpec

AGAIN = MINUTE
"""How often an alert that goes on is posted."""
WATCHDOG = "Watchdog"


@dataclass(slots=True, kw_only=True)
class _Active:
    """A series or an entity that is near an alert, or in one."""

    since: Millis
    """Since when the condition holds."""
    seen: Millis
    """When it was last looked at."""
    value: float
    metrics: str = ""
    """What is abnormal about an entity."""
    calm: Millis | None = None
    """Since when the condition holds no more, while the alert goes on."""
    posted: Millis | None = None
    """When the alert was last posted; None: it has not begun."""


_Near = dict[str, _Active]
"""By number of the series, or by entity."""


@dataclass(slots=True, kw_only=True)
class _State:
    active: dict[str, _Near] = field(default_factory=dict)
    """By rule."""
    memory: dict[str, Memory] = field(default_factory=dict)
    """By rule."""
    watchdog: Millis = Millis(0)


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class RuleBook:
    """All rules; see the module's text. Not thread-safe, reads no clock.

    Args:
        rules: The configured ones.
        watchdog: Whether an alert always fires, so that its absence tells that DOS is gone.
    """

    def __init__(self, rules: Sequence[RuleConfig] = (), *, watchdog: bool = False) -> None:
        self._rules = [RuleValues(one) for one in rules]
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
            rule.register(specs)

    def learn(self, batch: MetricBatch) -> None:
        """Samples of the past: what later ones are compared with. They begin no alert."""
        for rule in self._rules:
            rule.see(batch)
            if rule.config.change_over is not None:
                rule.of_samples(batch, np.flatnonzero(rule.mine[batch.series_id]))

    def step(
        self, batch: MetricBatch, now: Millis, anomalies: Iterable[Anomaly] = ()
    ) -> list[PostedAlert]:
        """What begins, goes on or ends with these samples, or with the time.

        Args:
            batch: The samples of the step.
            now: The time.
            anomalies: All that are going on.
        """
        alerts: list[PostedAlert] = []
        if self._watchdog and now >= self._state.watchdog:
            self._state.watchdog = Millis(now + AGAIN)
            alerts.append(_watchdog(now))
        if not self._rules:
            return alerts
        np.maximum.at(self._last, batch.series_id, batch.timestamp)
        abnormal = [one for one in anomalies if one.ended_at is None]
        for rule in self._rules:
            active = self._state.active.setdefault(rule.config.key, {})
            if rule.config.absent_for is not None:
                alerts += self._absent(rule, active, now)
            elif rule.config.anomaly is not None:
                alerts += self._abnormal(rule, active, abnormal, now)
            else:
                alerts += self._compared(rule, active, batch, now)
        return alerts

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        self._state.memory = {one.config.key: one.memory for one in self._rules}
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
        for rule in self._rules:
            rule.memory = self._state.memory.get(rule.config.key, rule.memory)
        self.register(series, now)
        if self._rules:
            self._last = np.where(last > 0, last, self._last)

    def _compared(
        self, rule: RuleValues, active: _Near, batch: MetricBatch, now: Millis
    ) -> Iterator[PostedAlert]:
        """Series of which there are samples, and those that say nothing any more."""
        rule.see(batch)
        rows = np.flatnonzero(rule.mine[batch.series_id])
        value = rule.of_samples(batch, rows)
        near = np.fromiter((int(one) for one in active), np.int64, len(active))
        for at, hit in _latest(batch.series_id[rows], rule.holds(value), near):
            series = str(int(batch.series_id[rows[at]]))
            yield from self._follow(rule, active, series, now, float(value[at]) if hit else None)
        for series in [one for one, known in active.items() if now - known.seen > STALE]:
            over = active.pop(series)
            if over.posted is not None:
                yield self._alert(rule, series, over, now, now)

    def _absent(self, rule: RuleValues, active: _Near, now: Millis) -> Iterator[PostedAlert]:
        """Series that say nothing for too long, and those that are back."""
        wait = round((rule.config.absent_for or 0.0) * SECOND)
        gone = np.flatnonzero(rule.mine & (self._last < now - wait)).tolist()
        for series in gone:
            quiet = float(now - self._last[series]) / SECOND
            yield from self._follow(rule, active, str(series), now, quiet)
        for back in sorted(set(active) - {str(one) for one in gone}):
            yield from self._follow(rule, active, back, now, None)

    def _abnormal(
        self, rule: RuleValues, active: _Near, anomalies: Sequence[Anomaly], now: Millis
    ) -> Iterator[PostedAlert]:
        """Entities of which enough is abnormal, and those of which it is not any more."""
        wanted = rule.config.anomaly or AnomalyCondition()
        found: dict[str, list[Anomaly]] = defaultdict(list)
        for one in anomalies:
            if one.score >= wanted.score and self._concerns(rule, one):
                found[one.entity].append(one)
        for entity in sorted({*found, *active}):
            mine = found.get(entity, [])
            metrics = sorted({one.metric for one in mine})
            enough = len(metrics) >= wanted.metrics
            score = max((one.score for one in mine), default=0.0) if enough else None
            yield from self._follow(rule, active, entity, now, score, ", ".join(metrics))

    def _concerns(self, rule: RuleValues, anomaly: Anomaly) -> bool:
        """Whether a rule is about an anomaly; those found in log lines may have no series."""
        if anomaly.series_id < len(rule.mine):
            return bool(rule.mine[anomaly.series_id])
        return (
            fnmatchcase(anomaly.entity, rule.config.entity)
            and fnmatchcase(anomaly.metric, rule.config.metric or "*")
            and all_match(rule.matchers, {})
        )

    def _follow(
        self,
        rule: RuleValues,
        active: _Near,
        subject: str,
        now: Millis,
        value: float | None,
        metrics: str = "",
    ) -> list[PostedAlert]:
        """A series or an entity that was looked at; `value` is None where nothing holds."""
        known = active.get(subject)
        if value is not None:
            if known is None:
                known = active[subject] = _Active(since=now, seen=now, value=value)
            known.seen, known.value, known.metrics, known.calm = now, value, metrics, None
            if now - known.since < rule.config.for_ * SECOND:
                return []
            return self._post(rule, subject, known, now)
        if known is None:
            return []
        known.seen = now
        if known.posted is None:
            del active[subject]
            return []
        known.calm = now if known.calm is None else known.calm
        if now - known.calm < rule.config.keep_firing_for * SECOND:
            return self._post(rule, subject, known, now)
        del active[subject]
        return [self._alert(rule, subject, known, now, now)]

    def _post(
        self, rule: RuleValues, subject: str, known: _Active, now: Millis
    ) -> list[PostedAlert]:
        if known.posted is not None and now - known.posted < AGAIN:
            return []
        known.posted = now
        return [self._alert(rule, subject, known, None, now)]

    def _alert(
        self, rule: RuleValues, subject: str, known: _Active, ended: Millis | None, now: Millis
    ) -> PostedAlert:
        config = rule.config
        if config.anomaly is None:
            spec = self._specs[int(subject)]
            own = {**dict(spec.labels), "metric": spec.metric}
        else:
            # What is abnormal changes while it goes on: it cannot tell alerts apart.
            spec, own = SeriesSpec(entity=EntityId(subject), metric=known.metrics), {}
        labels = {
            **own,
            **config.labels,
            "alertname": config.alert,
            "service": spec.entity,
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


def _latest(series: np.ndarray, hit: BoolArray, active: Int64Array) -> list[tuple[int, bool]]:
    """Place and verdict of the last sample of each series that matters."""
    last: dict[int, tuple[int, bool]] = {}
    matters = hit | np.isin(series, active) if len(active) else hit
    if matters.any():
        # A series that crossed and came back within one batch is judged by where it ended.
        for at in np.flatnonzero(np.isin(series, np.unique(series[matters]))).tolist():
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
