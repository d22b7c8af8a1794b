"""Rules on ratios, on changes and on anomalies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dos.alerting.rule_config import RuleConfig
from dos.alerting.rules import RuleBook
from dos.kit.clock import Millis
from dos.model.alert import PostedAlert
from dos.model.anomaly import Anomaly, Direction
from dos.model.ids import AnomalyId, EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, Series
from tests.unit.alerting.builders import at
from tests.unit.alerting.test_rules import run, spec, values

SPECS = (
    spec("shop", "errors", code="500"),
    spec("shop", "errors", code="503"),
    spec("shop", "requests"),
    spec("bank", "errors", code="500"),
    spec("bank", "requests", code="500"),
    spec("bank", "requests"),
    spec("solo", "errors"),
)
SERIES = tuple(Series(id=SeriesId(number), spec=one) for number, one in enumerate(SPECS))
ERRORS = {"alert": "Errors", "metric": "errors", "of": "requests", "above": 0.1}


def book(*rules: RuleConfig) -> RuleBook:
    made = RuleBook(rules)
    made.register(SERIES, at(0))
    return made


def rule(**keys: Any) -> RuleConfig:
    return RuleConfig.model_validate(keys)


def told(alerts: list[PostedAlert], *names: str) -> list[tuple[str, ...]]:
    return [tuple(dict(one.labels).get(name, "") for name in names) for one in alerts]


def test_a_ratio_is_by_the_same_labels_or_by_the_whole() -> None:
    made = book(rule(**ERRORS, annotations={"summary": "{entity} {code}: {value:.0%}"}))
    said = {"s0": 5, "s1": 20, "s2": 100, "s3": 5, "s4": 10, "s5": 100, "s6": 9}
    alerts = run(made, (0, said))
    # 500 of shop is 5 %; bank has requests of its own for 500; nothing is known of solo.
    assert [dict(one.annotations)["summary"] for one in alerts] == [
        "shop 503: 20%",
        "bank 500: 50%",
    ]


def test_nothing_holds_without_something_to_divide_by() -> None:
    made = book(rule(**ERRORS))
    assert run(made, (0, {"s0": 50})) == []
    assert run(made, (5, {"s2": 0.0}), (10, {"s0": 50})) == []
    assert run(made, (15, {"s2": float("nan")}), (20, {"s0": 50})) == []
    (begun,) = run(made, (25, {"s2": 100}), (30, {"s0": 50}))
    assert begun.starts_at == at(30)
    ended = run(made, *[(when, {"s0": 50}) for when in range(60, 400, 30)])[-1]
    assert ended.ends_at == at(330)  # the requests are five minutes old


def test_what_is_divided_by_may_come_later_and_with_other_labels() -> None:
    made = RuleBook([rule(**ERRORS)])
    made.register(SERIES[:1], at(0))
    assert run(made, (0, {"s0": 50})) == []
    made.register(SERIES[1:], at(5))
    assert told(run(made, (10, {"s2": 100, "s0": 50})), "service") == [("shop",)]


def test_a_change_is_a_share_of_what_was() -> None:
    made = book(
        rule(alert="Grew", metric="requests", entity="shop", above=0.5, change_over="10m"),
        rule(alert="Fell", metric="requests", entity="shop", below=-0.5, change_over="10m"),
    )
    quiet = [(when, {"s2": 100.0}) for when in range(0, 601, 30)]
    assert run(made, *quiet) == []
    (grew,) = run(made, (630, {"s2": 151.0}))
    assert told([grew], "alertname") == [("Grew",)]
    ended = run(made, (660, {"s2": 150.0}))
    assert (ended[0].fingerprint, ended[0].ends_at) == (grew.fingerprint, at(660))
    (fell,) = run(made, (690, {"s2": 49.0}))
    assert told([fell], "alertname") == [("Fell",)]
    # Ten minutes later it is compared with the low value, and is no change any more.
    later = run(made, *[(when, {"s2": 49.0}) for when in range(720, 1320, 30)])
    assert [one.ends_at for one in later if one.ends_at] == [at(1290)]


def test_a_difference_where_shares_say_nothing() -> None:
    one = {"metric": "requests", "entity": "shop", "above": 10, "change_over": "1m"}
    share, difference = rule(alert="A", **one), rule(alert="B", **one, change="absolute")
    made = book(share, difference)
    queue = [(when, {"s2": 0.0}) for when in range(0, 61, 10)]
    assert run(made, *queue) == []
    assert told(run(made, (70, {"s2": 11.0})), "alertname") == [("B",)]


def test_over_a_gap_nothing_is_compared() -> None:
    made = book(rule(alert="A", metric="requests", entity="shop", above=0.5, change_over="1h"))
    assert run(made, (0, {"s2": 1.0}), (7200, {"s2": 100.0}), (7230, {"s2": 100.0})) == []
    assert len(run(made, (10_810, {"s2": 500.0}))) == 1


def test_the_past_is_what_later_samples_are_compared_with() -> None:
    made = book(
        rule(alert="A", metric="requests", entity="shop", above=0.5, change_over="10m"),
        rule(**ERRORS),
    )
    for when in range(0, 600, 30):
        made.learn(values(when, s2=100.0, s0=90.0))
    assert told(run(made, (630, {"s2": 200.0})), "alertname") == [("A",)]
    assert told(run(made, (640, {"s0": 30.0})), "alertname") == [("Errors",)]


def anomaly(entity: str, metric: str, score: float = 0.9, series: int = 99) -> Anomaly:
    return Anomaly(
        id=AnomalyId(f"ano-{entity}-{metric}"),
        series_id=SeriesId(series),
        entity=EntityId(entity),
        metric=metric,
        role=Role.LATENCY,
        started_at=at(0),
        decided_at=at(0),
        direction=Direction.ABOVE,
        deviation=9.0,
        score=score,
        observed=9.0,
        expected=1.0,
        lower=0.0,
        upper=2.0,
        detector="x",
    )


def look(made: RuleBook, seconds: float, *abnormal: Anomaly) -> list[PostedAlert]:
    return made.step(values(seconds), at(seconds), abnormal)


def test_enough_has_to_be_abnormal_strongly_enough_for_long_enough() -> None:
    text = {"summary": "{entity}: {metric} ({value:.2f})"}
    keys = {"anomaly": {"score": 0.8, "metrics": 2}, "for": "10s", "annotations": text}
    made = book(rule(alert="Strange", **keys))
    one, weak = anomaly("shop", "cpu"), anomaly("shop", "latency", 0.7)
    strong, far = anomaly("shop", "latency", 0.85), anomaly("bank", "cpu")
    assert look(made, 0, one, weak, far) == []
    assert look(made, 5, one, strong, far) == []
    assert look(made, 10, one, one, far) == []  # twice the same metric, and it began anew
    assert look(made, 15, one, strong) == []
    (alert,) = look(made, 25, one, strong)
    labels = {"alertname": "Strange", "service": "shop", "severity": "warning"}
    assert dict(alert.labels) == labels
    assert dict(alert.annotations) == {"summary": "shop: cpu, latency (0.90)"}
    assert alert.starts_at == at(15)
    # Other metrics are the same alert.
    (again,) = look(made, 85, strong, anomaly("shop", "memory", 0.95))
    assert again.fingerprint == alert.fingerprint
    assert dict(again.annotations) == {"summary": "shop: latency, memory (0.95)"}
    (ended,) = look(made, 90, one, replace(strong, ended_at=at(89)))
    assert (ended.fingerprint, ended.ends_at) == (alert.fingerprint, at(90))


@pytest.mark.parametrize(
    ("keys", "services"),
    [
        ({}, ["bank", "shop"]),
        ({"entity": "sh*"}, ["shop"]),
        ({"metric": "requests"}, ["bank"]),
        ({"matchers": 'code="500"'}, ["shop"]),
        ({"matchers": 'code=""'}, ["bank"]),
    ],
)
def test_anomalies_are_chosen_as_series_are(keys: dict[str, str], services: list[str]) -> None:
    made = book(rule(alert="A", anomaly={}, **keys))
    both = anomaly("shop", "errors", series=0), anomaly("bank", "requests", series=5)
    assert told(look(made, 0, *both), "service") == [(one,) for one in services]
    # Of a series that no rule knows, by its names alone.
    strangers = anomaly("shop", "errors"), anomaly("bank", "requests")
    made = book(rule(alert="A", anomaly={}, entity="bank", metric="req*"))
    assert told(look(made, 0, *strangers), "service") == [("bank",)]


def test_every_step_may_be_written_down_and_read() -> None:
    config = [
        rule(**ERRORS),
        rule(alert="B", metric="requests", above=0.2, change_over="1m"),
        rule(alert="C", anomaly={"score": 0.5}, keep_firing_for="20s"),
    ]
    one, other = book(*config), book(*config)
    rng, last = np.random.default_rng(3), np.full(len(SERIES), at(0), np.int64)
    begun = 0
    for when in range(0, 900, 5):
        said = {f"s{number}": rng.uniform(0, 20) for number in range(7) if rng.random() < 0.6}
        batch = values(when, **said)
        np.maximum.at(last, batch.series_id, batch.timestamp)
        abnormal = [anomaly("shop", "cpu")] if rng.random() < 0.2 else []
        expected = one.step(batch, at(when), abnormal)
        assert other.step(batch, at(when), abnormal) == expected
        begun += len({dict(alert.labels)["alertname"] for alert in expected})
        fresh = RuleBook(config)
        fresh.load(other.dump(), SERIES, last, Millis(at(when)))
        other = fresh
        assert other.dump() == one.dump()
    assert begun > 50


def test_what_is_kept_of_the_past_is_bounded() -> None:
    made = book(rule(alert="A", metric="requests", entity="shop", above=0.5, change_over="1h"))
    for start in range(0, 36_000, 3_600):
        seconds = np.arange(start, start + 3_600)
        batch = MetricBatch(
            series_id=np.full(len(seconds), 2, np.int32),
            timestamp=(at(0) + seconds * 1000).astype(np.int64),
            value=np.ones(len(seconds)),
        )
        made.step(batch, at(start + 3_600))
    assert len(made.dump()) < 4_000
