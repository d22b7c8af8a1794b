from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from dos.ingest.promql.columns import Answer, BoundQuery, Columns
from dos.ingest.promql.identity import Identities
from dos.ingest.promql.presets import load_preset, preset_names
from dos.ingest.promql.queries import Combine, EntityRule, Query, Variant, expand
from dos.kit.errors import ConfigError
from dos.kit.plugins import load
from dos.model.entity import EntityKind
from dos.model.telemetry import Role

AT = 1_760_000_400_000
PODS = EntityRule(name=("pod",), namespace=("namespace",), kind=EntityKind.SERVICE)
Point = tuple[dict[str, str], int, float]


def bound(metric: str, combine: Combine = Combine.SUM, **keys: object) -> BoundQuery:
    query = Query.model_validate(
        {"metric": metric, "promql": "up", "entity": PODS, "combine": combine, **keys}
    )
    return BoundQuery(key=f"query {metric} {combine}", promql="up", query=query)


def answer(*points: Point) -> Answer:
    labels: list[dict[str, str]] = []
    which = []
    for one, _, _ in points:
        if one not in labels:
            labels.append(one)
        which.append(labels.index(one))
    return Answer(
        labels=labels,
        which=np.array(which, np.int32),
        at=np.array([at for _, at, _ in points], np.int64),
        value=np.array([value for _, _, value in points]),
    )


def pod(name: str, namespace: str = "shop") -> dict[str, str]:
    return {"pod": name, "namespace": namespace}


@pytest.mark.parametrize(
    ("how", "expected"),
    [(Combine.SUM, 6.0), (Combine.MAX, 4.0), (Combine.MIN, 2.0), (Combine.MEAN, 3.0)],
)
def test_the_pods_of_a_workload_become_one_value(how: Combine, expected: float) -> None:
    columns = Columns(Identities())
    points = [(pod("cart-0"), AT, 2.0), (pod("cart-1"), AT, 4.0), (pod("web-0"), AT, 9.0)]
    frame = columns.frame([(bound("cpu_usage", how), answer(*points))])
    assert frame is not None
    assert [spec.entity for spec in frame.series] == ["cart", "web"]
    assert frame.index.tolist() == [0, 1]
    assert frame.value.tolist() == [expected, 9.0]


def test_pods_are_combined_time_by_time() -> None:
    columns = Columns(Identities())
    points = [(pod(f"cart-{n}"), AT + 15_000 * t, 1.0 + t) for n in range(2) for t in range(3)]
    frame = columns.frame([(bound("cpu_usage"), answer(*points))])
    assert frame is not None
    assert frame.timestamp.tolist() == [AT, AT + 15_000, AT + 30_000]
    assert frame.value.tolist() == [2.0, 4.0, 6.0]


def test_no_value_is_no_sample() -> None:
    columns = Columns(Identities())
    points = [(pod("cart-0"), AT, math.nan), (pod("cart-1"), AT, 1.0), (pod("web-0"), AT, math.inf)]
    frame = columns.frame([(bound("error_ratio", Combine.MAX), answer(*points))])
    assert frame is not None
    assert frame.value.tolist() == [1.0]
    assert columns.frame([(bound("x"), answer())]) is None


def test_the_table_of_series_stays_the_same_object() -> None:
    columns = Columns(Identities())
    first = columns.frame([(bound("cpu"), answer((pod("a-0"), AT, 1.0)))])
    second = columns.frame([(bound("cpu"), answer((pod("a-0"), AT + 1, 1.0)))])
    grown = columns.frame([(bound("cpu"), answer((pod("b-0"), AT + 2, 1.0)))])
    assert first is not None
    assert second is not None
    assert grown is not None
    assert first.series is second.series
    assert [spec.entity for spec in grown.series] == ["a", "b"]


def test_the_query_in_front_provides_a_series() -> None:
    columns = Columns(Identities())
    own = bound("request_rate", Combine.MAX)
    preset = bound("request_rate")
    first = answer((pod("a-0"), AT, 1.0))
    second = answer((pod("a-0"), AT, 2.0), (pod("b-0"), AT, 3.0))
    frame = columns.frame([(own, first), (preset, second)])
    assert frame is not None
    assert [
        (frame.series[row].entity, value)
        for row, value in zip(frame.index, frame.value, strict=True)
    ] == [
        ("a", 1.0),
        ("b", 3.0),
    ]


def test_everything_is_named_anew_when_a_name_turns_out_to_be_two() -> None:
    columns = Columns(Identities())
    columns.frame([(bound("cpu"), answer((pod("a-0"), AT, 1.0)))])
    assert [one.id for one in columns.new_entities()] == ["a"]
    points = [(pod("a-0"), AT, 1.0), (pod("a-0", "staging"), AT, 2.0)]
    frame = columns.frame([(bound("cpu"), answer(*points))])
    assert frame is not None
    assert [spec.entity for spec in frame.series] == ["shop/a", "staging/a"]
    assert frame.value.tolist() == [1.0, 2.0]


def test_label_sets_that_are_gone_are_forgotten() -> None:
    columns = Columns(Identities())
    for number in range(1_500):  # each pod lives for one step
        columns.frame([(bound("cpu"), answer((pod(f"job{number}"), AT + number, 1.0)))])
    assert len(columns) <= 1_010


def test_entities_are_told_once_and_again_when_known_better() -> None:
    columns = Columns(Identities())
    plain = EntityRule(name=("pod",))
    columns.frame([(bound("cpu", entity=plain), answer((pod("a-0"), AT, 1.0)))])
    assert [(one.id, one.kind) for one in columns.new_entities()] == [("a", EntityKind.UNKNOWN)]
    columns.frame([(bound("rate"), answer((pod("a-0"), AT, 1.0)))])
    assert [(one.id, one.kind, one.namespace) for one in columns.new_entities()] == [
        ("a", EntityKind.SERVICE, "shop")
    ]
    assert columns.new_entities() == ()


def test_role_and_unit_come_from_the_query_or_the_name() -> None:
    columns = Columns(Identities())
    queries = [bound("latency_p95_seconds"), bound("thing", role="errors", unit="1/s")]
    frame = columns.frame([(one, answer((pod("a-0"), AT, 1.0))) for one in queries])
    assert frame is not None
    assert [(spec.role, spec.unit) for spec in frame.series] == [
        (Role.LATENCY, "seconds"),
        (Role.ERRORS, "1/s"),
    ]


def test_variables_are_filled_in_and_unknown_ones_refused() -> None:
    known = {"range": "1m", "interval": "15s"}
    assert expand("rate(x[$range])\n  > 0", known, "query x") == "rate(x[1m]) > 0"
    assert expand('label_replace(x, "a", "$1", "b", "(.*)")', known, "q").count("$1") == 1
    with pytest.raises(ConfigError) as failure:
        expand("rate(x[$rnage])", known, "query x")
    assert (
        str(failure.value) == "query x: $rnage is not known in PromQL. Known are $interval, $range."
    )


def test_presets_are_complete() -> None:
    assert set(preset_names()) == {
        "cadvisor",
        "db_client",
        "http_client",
        "http_server",
        "istio",
        "kube_state_metrics",
        "kubelet_volumes",
        "node_exporter",
        "otel_servicegraph",
        "otel_spanmetrics",
        "process",
    }
    for name in preset_names():
        preset = load_preset(name)
        assert preset.about
        for query in preset.queries:
            assert query.role is not None, (name, query.metric)
    with pytest.raises(ConfigError, match=r"no Prometheus preset 'itsio'.*Use auto or some of"):
        load_preset("itsio")


@pytest.mark.parametrize(
    ("present", "bucket"),
    [
        (
            ["traces_span_metrics_calls_total", "traces_span_metrics_duration_milliseconds_bucket"],
            "1000",
        ),
        (["traces_spanmetrics_calls_total", "traces_spanmetrics_latency_bucket"], "1"),
        (["calls_total", "duration_seconds_bucket"], "1"),
    ],
)
def test_the_naming_in_use_is_found(present: list[str], bucket: str) -> None:
    variant = load_preset("otel_spanmetrics").choose(present)
    assert variant is not None
    assert variant.variables["per_second"] == bucket
    assert variant.detects == tuple(present)


def test_no_naming_fits() -> None:
    assert load_preset("istio").choose(["calls_total"]) is None
    assert Variant(detects=("a",)).variables == {}


def test_a_wrong_configuration_is_refused_with_what_to_write() -> None:
    config = load("dos.ingest.sources", "prometheus").config
    for keys, message in [
        ({"presets": ["itsio"]}, "Use auto or some of: cadvisor"),
        (
            {"queries": [{"metric": "x", "promql": "rate(y[$window])"}]},
            "Known are $interval, $range",
        ),
        ({"step": "100ms"}, "greater than or equal to 1"),
        ({"scrape": "15s"}, "Extra inputs are not permitted"),
    ]:
        with pytest.raises(ValidationError) as failure:
            config.model_validate({"url": "http://prom:9090", **keys})
        assert message in str(failure.value)


def test_the_examples_in_the_documentation_are_valid(root: Path) -> None:
    config = load("dos.ingest.sources", "prometheus").config
    page = (root / "docs/sources/prometheus.md").read_text()
    blocks = re.findall(r"```yaml\n(sources:.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        for source in yaml.safe_load(block)["sources"]:
            assert source.pop("type") == "prometheus"
            config.model_validate(source)
    documented = set(re.findall(r"`(\w+)`", page.partition("## All keys")[2].partition("## ")[0]))
    assert documented >= set(config.model_fields)
