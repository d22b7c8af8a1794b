"""Unit tests for rules, in the style of promtool: series in, alerts out, in virtual time.

Values are written as promtool has them: `0+1x3` is 0, 1, 2, 3; `5x2` is 5, 5, 5; `_` and `stale`
are no sample, `_x3` three times none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dos.alerting.rule_config import RuleConfig
from dos.alerting.rules import RuleBook
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration, format_duration
from dos.model.alert import PostedAlert
from dos.model.anomaly import Anomaly, Direction
from dos.model.ids import AnomalyId, EntityId, SeriesId
from dos.model.matchers import Operator, parse_matchers
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec

_MOST = 1_000_000
"""Samples of one series, or evaluations of one test."""
_SERIES = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{.*\})\s*", re.DOTALL)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PIECE = re.compile(
    rf"(?:(?P<gap>_|stale)|(?P<first>{_NUMBER})(?P<step>[-+](?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?)"
    r"(?:x(?P<times>\d{1,7}))?"
)
_ENTITY = "entity"


def _spec(text: str) -> SeriesSpec:
    """`cpu_usage{entity="shop/web",code="500"}`."""
    found = _SERIES.fullmatch(text)
    if found is None:
        msg = f'{text!r}: write it as cpu_usage{{entity="shop/web"}}'
        raise ValueError(msg)
    matchers = parse_matchers(found[2])
    labels = {one.name: one.value for one in matchers}
    entity = labels.pop(_ENTITY, "")
    if not entity or any(one.operator is not Operator.EQUAL for one in matchers):
        msg = f"{text!r}: it needs the label entity, and only = between names and values"
        raise ValueError(msg)
    pairs = tuple(sorted(labels.items()))
    return SeriesSpec(entity=EntityId(entity), metric=found[1], labels=pairs)


def _values(text: object) -> tuple[float | None, ...]:
    """Samples, as promtool writes them."""
    values: list[float | None] = []
    for piece in str(text).split():
        found = _PIECE.fullmatch(piece)
        if found is None:
            msg = f"{piece!r} is no value; write for example 1, 0+5x10, 3x4, _ or _x5"
            raise ValueError(msg)
        times = int(found["times"] or 0)
        if len(values) + times >= _MOST:
            msg = f"{piece!r}: more than {_MOST} samples"
            raise ValueError(msg)
        if found["gap"]:
            values += [None] * max(1, times)
        else:
            first, step = float(found["first"]), float(found["step"] or 0)
            values += [first + step * number for number in range(times + 1)]
    return tuple(values)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSeries(_Part):
    """A series and its samples, one per `interval`, the first at 0."""

    series: Annotated[str, AfterValidator(lambda text: (_spec(text), text)[1])]
    values: Annotated[tuple[float | None, ...], BeforeValidator(_values)]


class InputAnomaly(_Part):
    """An anomaly that goes on for a while."""

    entity: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    score: float = Field(default=1.0, ge=0, le=1)
    from_: Annotated[Duration, Field(alias="from", ge=0)] = 0.0
    until: Duration


class ExpectedAlert(_Part):
    """What an alert says; `alertname` need not be repeated."""

    exp_labels: dict[str, str] = Field(default_factory=dict)
    exp_annotations: dict[str, str] = Field(default_factory=dict)


class Expectation(_Part):
    """Which alerts of a name fire at a time: these, and no others."""

    eval_time: Annotated[Duration, Field(ge=0)]
    alertname: str = Field(min_length=1)
    exp_alerts: tuple[ExpectedAlert, ...] = ()


class RuleTest(_Part):
    """One test: its time begins at 0, and nothing was before."""

    name: str = ""
    interval: Annotated[Duration, Field(gt=0)] = 60.0
    input_series: tuple[InputSeries, ...] = ()
    input_anomalies: tuple[InputAnomaly, ...] = ()
    alert_rule_test: tuple[Expectation, ...] = Field(min_length=1)


class RuleTestFile(_Part):
    """A file of tests."""

    rule_files: tuple[str, ...] = Field(min_length=1)
    """Configurations with the rules (`alerting.rules`); paths are relative to this file."""
    evaluation_interval: Annotated[Duration, Field(gt=0)] = 60.0
    tests: tuple[RuleTest, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _not_endless(self) -> RuleTestFile:
        for number, test in enumerate(self.tests, start=1):
            last = max(one.eval_time for one in test.alert_rule_test)
            if last / self.evaluation_interval > _MOST:
                msg = f"test {number}: more than {_MOST} evaluations; is eval_time right?"
                raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An expectation that was not met."""

    test: str
    at: float
    """Seconds from the test's beginning."""
    alertname: str
    expected: tuple[dict[str, Any], ...]
    got: tuple[dict[str, Any], ...]


def run(file: RuleTestFile, rules: Sequence[RuleConfig]) -> list[Failure]:
    """Run all tests of a file; what is not as expected."""
    found: list[Failure] = []
    for number, test in enumerate(file.tests, start=1):
        found += _run(test, rules, test.name or f"test {number}", file.evaluation_interval)
    return found


def _run(
    test: RuleTest, rules: Sequence[RuleConfig], title: str, interval: float
) -> Iterator[Failure]:
    book, samples = RuleBook(rules), _samples(test)
    specs = [_spec(one.series) for one in test.input_series]
    series = [Series(id=SeriesId(number), spec=one) for number, one in enumerate(specs)]
    book.register(series, Millis(0))
    firing: dict[str, PostedAlert] = {}
    step, before = round(interval * SECOND), -1
    asked = sorted(test.alert_rule_test, key=lambda one: one.eval_time)
    for now in range(0, round(asked[-1].eval_time * SECOND) + step, step):
        # What is asked about lies between two evaluations: the earlier one counts.
        while asked and round(asked[0].eval_time * SECOND) < now:
            yield from _judged(asked.pop(0), title, firing)
        chosen = (samples.timestamp > before) & (samples.timestamp <= now)
        batch = MetricBatch(
            series_id=samples.series_id[chosen],
            timestamp=samples.timestamp[chosen],
            value=samples.value[chosen],
        )
        for alert in book.step(batch, Millis(now), _anomalies(test, now)):
            if alert.ends_at is None:
                firing[alert.fingerprint] = alert
            else:
                firing.pop(alert.fingerprint, None)
        before = now
    for one in asked:
        yield from _judged(one, title, firing)


def _samples(test: RuleTest) -> MetricBatch:
    """All samples of a test, in order of time."""
    rows = [
        (round(place * test.interval * SECOND), number, value)
        for number, one in enumerate(test.input_series)
        for place, value in enumerate(one.values)
        if value is not None
    ]
    rows.sort()
    return MetricBatch(
        series_id=np.array([row[1] for row in rows], np.int32),
        timestamp=np.array([row[0] for row in rows], np.int64),
        value=np.array([row[2] for row in rows], np.float64),
    )


def _anomalies(test: RuleTest, now: int) -> list[Anomaly]:
    return [
        Anomaly(
            id=AnomalyId(f"ano-{number}"),
            series_id=SeriesId(len(test.input_series) + number),
            entity=EntityId(one.entity),
            metric=one.metric,
            role=Role.OTHER,
            started_at=Millis(round(one.from_ * SECOND)),
            decided_at=Millis(round(one.from_ * SECOND)),
            direction=Direction.ABOVE,
            deviation=0.0,
            score=one.score,
            observed=0.0,
            expected=0.0,
            lower=0.0,
            upper=0.0,
            detector="test",
        )
        for number, one in enumerate(test.input_anomalies)
        if one.from_ * SECOND <= now < one.until * SECOND
    ]


def _judged(wanted: Expectation, title: str, firing: dict[str, PostedAlert]) -> Iterator[Failure]:
    got = [
        {"exp_labels": _named(one.labels), "exp_annotations": dict(one.annotations)}
        for one in firing.values()
        if dict(one.labels)["alertname"] == wanted.alertname
    ]
    expected = [
        {"exp_labels": _named(one.exp_labels.items()), "exp_annotations": one.exp_annotations}
        for one in wanted.exp_alerts
    ]
    failure = Failure(
        test=title,
        at=wanted.eval_time,
        alertname=wanted.alertname,
        expected=tuple(sorted(expected, key=repr)),
        got=tuple(sorted(got, key=repr)),
    )
    if failure.expected != failure.got:
        yield failure


def _named(labels: Any) -> dict[str, str]:
    return {name: value for name, value in sorted(labels) if name != "alertname"}


def described(failure: Failure) -> str:
    """A failure, for people."""
    when = format_duration(round(failure.at))
    lines = [f"{failure.test}: {failure.alertname} at {when}"]
    for word, alerts in (("expected", failure.expected), ("got", failure.got)):
        lines.append(f"  {word}:" + ("" if alerts else " nothing"))
        lines += [
            "    {} {}".format(_pairs(one["exp_labels"]), _pairs(one["exp_annotations"])).rstrip()
            for one in alerts
        ]
    return "\n".join(lines)


def _pairs(pairs: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in pairs.items()) + "}"
