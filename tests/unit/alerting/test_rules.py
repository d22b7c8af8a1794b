"""Rules on series: when their alerts begin, go on and end, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dos.alerting.base import AlertingConfig
from dos.alerting.rule_config import RuleConfig, fill
from dos.alerting.rules import WATCHDOG, RuleBook
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import CorruptDataError
from dos.model.alert import PostedAlert
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec
from tests.unit.alerting.builders import at


def spec(entity: str, metric: str = "cpu", **labels: str) -> SeriesSpec:
    return SeriesSpec(
        entity=EntityId(entity),
        metric=metric,
        labels=tuple(sorted(labels.items())),
        role=Role.SATURATION,
    )


SPECS = (
    spec("shop/web"),
    spec("shop/db"),
    spec("bank/db", code="500"),
    spec("shop/web", "memory"),
)
SERIES = tuple(Series(id=SeriesId(number), spec=one) for number, one in enumerate(SPECS))


def rule(**keys: Any) -> RuleConfig:
    return RuleConfig.model_validate({"alert": "HighCpu", "metric": "cpu", **keys})


def book(*rules: RuleConfig, **also: Any) -> RuleBook:
    made = RuleBook(rules, **also)
    made.register(SERIES, at(0))
    return made


def values(seconds: float, **by_number: float) -> MetricBatch:
    """Samples by series: `values(5, s0=0.9)`."""
    return MetricBatch(
        series_id=np.array([int(name[1:]) for name in by_number], np.int32),
        timestamp=np.full(len(by_number), at(seconds), np.int64),
        value=np.array(list(by_number.values()), np.float64),
    )


def run(made: RuleBook, *steps: tuple[float, dict[str, float]]) -> list[PostedAlert]:
    return [one for when, said in steps for one in made.step(values(when, **said), at(when))]


def test_a_threshold_has_to_be_crossed_for_a_while() -> None:
    made = book(rule(above=0.8, **{"for": "10s"}))
    assert run(made, (0, {"s0": 0.9}), (5, {"s0": 0.9})) == []
    (alert,) = run(made, (10, {"s0": 0.85}))
    assert dict(alert.labels) == {
        "alertname": "HighCpu",
        "service": "shop/web",
        "metric": "cpu",
        "severity": "warning",
    }
    assert (alert.starts_at, alert.ends_at) == (at(0), None)
    assert run(made, (15, {"s0": 0.9})) == []
    (ended,) = run(made, (20, {"s0": 0.8}))
    assert (ended.fingerprint, ended.ends_at) == (alert.fingerprint, at(20))
    assert run(made, (25, {"s0": 0.1}), (500, {})) == []


def test_a_short_crossing_begins_anew() -> None:
    made = book(rule(above=0.8, **{"for": "10s"}))
    assert run(made, (0, {"s0": 0.9}), (5, {"s0": 0.7}), (10, {"s0": 0.9}), (15, {"s0": 0.9})) == []
    (alert,) = run(made, (20, {"s0": 0.9}))
    assert alert.starts_at == at(10)


def test_an_alert_that_goes_on_is_posted_each_minute_with_the_newest_value() -> None:
    made = book(rule(above=0.5, annotations={"summary": "High CPU in {entity}: {value:.0%}"}))
    steps = [(when, {"s1": 0.6 + when / 1000}) for when in range(0, 125, 5)]
    posted = run(made, *steps)
    assert [one.updated_at for one in posted] == [at(0), at(60), at(120)]
    assert [dict(one.annotations)["summary"] for one in posted] == [
        "High CPU in shop/db: 60%",
        "High CPU in shop/db: 66%",
        "High CPU in shop/db: 72%",
    ]


def test_it_keeps_firing_over_short_relief() -> None:
    made = book(rule(above=0.8, keep_firing_for="20s"))
    posted = run(
        made, *[(when, {"s0": 0.9 if when % 20 == 0 else 0.1}) for when in range(0, 61, 10)]
    )
    assert [one.ends_at for one in posted] == [None, None]
    (ended,) = run(made, (70, {"s0": 0.1}), (80, {"s0": 0.1}), (90, {"s0": 0.1}))
    assert ended.ends_at == at(90)


def test_a_series_that_stops_reporting_ends_its_alert() -> None:
    made = book(rule(below=0.2))
    (begun,) = run(made, (0, {"s0": 0.1}))
    assert run(made, (299, {})) == []
    (ended,) = run(made, (301, {}))
    assert (ended.fingerprint, ended.ends_at) == (begun.fingerprint, at(301))


def test_silence_is_an_alert_where_it_is_asked_for() -> None:
    made = book(rule(alert="Gone", absent_for="1m", annotations={"summary": "for {value:.0f} s"}))
    assert run(made, (0, {"s0": 1.0, "s1": 1.0}), (50, {"s1": 1.0})) == []
    gone = run(made, (65, {"s1": 1.0}))
    assert sorted(dict(one.labels)["service"] for one in gone) == ["bank/db", "shop/web"]
    assert {dict(one.annotations)["summary"] for one in gone} == {"for 65 s"}
    (back,) = run(made, (70, {"s0": 0.0, "s1": 1.0}))
    assert dict(back.labels)["service"] == "shop/web"
    assert back.ends_at == at(70)


@pytest.mark.parametrize(
    ("keys", "services"),
    [
        ({}, ["shop/web", "shop/db", "bank/db"]),
        ({"entity": "shop/*"}, ["shop/web", "shop/db"]),
        ({"metric": "*"}, ["shop/web", "shop/db", "bank/db", "shop/web"]),
        ({"matchers": 'code=~"5.."'}, ["bank/db"]),
        ({"matchers": 'code=""'}, ["shop/web", "shop/db"]),
    ],
)
def test_a_rule_is_about_what_it_names(keys: dict[str, str], services: list[str]) -> None:
    made = book(rule(above=0.0, **keys))
    posted = run(made, (0, {"s0": 1.0, "s1": 1.0, "s2": 1.0, "s3": 1.0}))
    assert [dict(one.labels)["service"] for one in posted] == services


def test_the_last_sample_of_a_batch_counts() -> None:
    made = book(rule(above=0.8))
    batch = MetricBatch(
        series_id=np.array([0, 1, 0, 1], np.int32),
        timestamp=np.array([at(0), at(0), at(5), at(5)], np.int64),
        value=np.array([0.9, 0.1, 0.1, 0.9]),
    )
    (alert,) = made.step(batch, at(5))
    assert dict(alert.labels)["service"] == "shop/db"


def test_rules_and_series_may_change_over_a_restart() -> None:
    kept, gone = rule(above=0.8), rule(alert="Other", above=0.5)
    made = book(kept, gone)
    assert len(run(made, (0, {"s0": 0.9}))) == 2
    again = RuleBook([kept, rule(alert="New", below=1.0)])
    last = np.array([at(0), 0, 0, 0], np.int64)
    again.load(made.dump(), SERIES, last, at(1))
    posted = run(again, (5, {"s0": 0.85}))
    assert [dict(one.labels)["alertname"] for one in posted] == ["New"]  # the kept one goes on
    (ended,) = run(again, (10, {"s0": 1.0}), (15, {"s0": 0.7}))[-1:]
    assert dict(ended.labels)["alertname"] in {"HighCpu", "New"}
    with pytest.raises(CorruptDataError, match="rules"):
        again.load(b"x", SERIES, last, at(1))


def test_every_step_may_be_written_down_and_read() -> None:
    config = [rule(above=0.8, **{"for": "10s"}), rule(alert="Gone", absent_for="20s")]
    one, other = book(*config), book(*config)
    last = np.zeros(len(SERIES), np.int64)
    rng = np.random.default_rng(1)
    for when in range(0, 400, 5):
        said = {f"s{series}": rng.uniform(0.6, 1.0) for series in range(4) if rng.random() < 0.5}
        batch = values(when, **said)
        np.maximum.at(last, batch.series_id, batch.timestamp)
        assert one.step(batch, at(when)) == other.step(batch, at(when))
        fresh = RuleBook(config)
        fresh.load(other.dump(), SERIES, np.where(last > 0, last, at(0)), at(when))
        other = fresh
        assert other.dump() == one.dump()


def test_the_watchdog_always_fires() -> None:
    made = book(watchdog=True)
    posted = run(made, *[(when, {}) for when in range(0, 150, 10)])
    assert [one.updated_at for one in posted] == [at(0), at(60), at(120)]
    assert {dict(one.labels)["alertname"] for one in posted} == {WATCHDOG}
    assert not made.is_empty
    assert book().is_empty


def test_texts_are_filled_in_and_nothing_is_run() -> None:
    one = spec("db", code="{value}", zone="a")
    text = (
        "{{x}} {entity} {metric} {zone} {code} {unknown} {value} {value:.1f} {value:,.0f} {value:d}"
    )
    assert fill(text, one, 1234.56) == "{x} db cpu a {value}  1234.56 1234.6 1,235 1235"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "one of above, below, absent_for and anomaly"),
        ({"above": 1, "below": 0}, "one of above, below, absent_for and anomaly"),
        ({"above": float("nan")}, "finite"),
        ({"above": 1, "matchers": "code=~("}, "matcher|expression|mark"),
        ({"above": 1, "matchers": 'code=~"("'}, "regular expression"),
        ({"above": 1, "alert": "High CPU"}, "name of a label"),
        ({"above": 1, "labels": {"a-b": "x"}}, "name of a label"),
        ({"above": 1, "annotations": {"summary": "{entity.__class__}"}}, "write"),
        ({"above": 1, "annotations": {"summary": "{value:999999999}"}}, "format"),
        ({"above": 1, "annotations": {"summary": "{entity!r}"}}, "write"),
        ({"above": 1, "annotations": {"summary": "}"}}, "write"),
        ({"above": 1, "for": -1}, "zero or more"),
        ({"above": 1, "metric": ""}, "metric is missing"),
        ({"absent_for": 60, "of": "requests"}, "go with above or below"),
        ({"anomaly": {}, "change_over": 60}, "go with above or below"),
        ({"above": 1, "change": "absolute"}, "needs change_over"),
        ({"anomaly": {"metrics": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rule(**keys)


def test_two_rules_that_would_be_one_alert_are_refused() -> None:
    two = [{"alert": "A", "metric": "cpu", "above": one} for one in (0.8, 0.9)]
    with pytest.raises(ValidationError, match="would be the same alert"):
        AlertingConfig.model_validate({"rules": two})
    two[1]["severity"] = "critical"
    assert len(AlertingConfig.model_validate({"rules": two}).rules) == 2


def test_times_are_those_of_the_step() -> None:
    made = book(rule(above=0.8))
    (alert,) = made.step(values(0, s0=0.9), Millis(at(0) + 7 * SECOND))
    assert alert.starts_at == Millis(at(0) + 7 * SECOND)
