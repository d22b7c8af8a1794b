"""Alerting rules, evaluated by a real Prometheus and by DOS through its API: the same alerts."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from dos.ingest.promql.alerts import RuleEvaluator
from dos.ingest.promql.api import PrometheusApi
from dos.ingest.promql.rule_file import read_rules
from dos.ingest.sources.prometheus import Config
from dos.kit.clock import Millis
from tests.conftest import Server

VALUES = (
    "0", "0.8531", "-0.8531", "1", "12", "123456.789", "1e6", "1234567890123", "1e21", "1e22",
    "-1e22", "0.00001234", "1e-9", "+Inf", "-Inf", "1024", "1536", "2097152", "59", "60", "3661",
    "90061", "-3661", "0.02", "1700000000", "1700000000.25",
)  # fmt: skip
TEXTS = (
    "{{ $value }} {{ .Value }}",
    "{{ $value | humanize }}",
    "{{ humanize1024 $value }}",
    "{{ $value | humanizeDuration }}",
    "{{ $value | humanizePercentage }}",
    '{{ printf "%.2f|%8.1f|%e|%g|%v%%" $value $value $value $value $value }}',
    '{{ $value | printf "%.3f" }}',
    '{{ printf "%s and %d" (humanize $value) $value }}',
)
OVERFLOW = "-106751991167300d"
"""What Prometheus makes of more seconds than an int64 holds."""
LABELS = (
    "{{ $labels.job | toUpper }} {{ .Labels.job | title }} {{ toLower $labels.UP }}",
    "a {{- $labels.job -}} b {{- /* nothing */ -}} c",
    "[ {{- $labels.job }} {{ $labels.job -}} ]",
    '{{ reReplaceAll "(.*)-(.*)" "$2 ${1}" $labels.job }} {{ $labels.none }}!',
    "{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }} {{ `raw` }}",
    r'{{ "\"quoted\"\n" }} {{ ($labels.job) }}',
    "{{ 1700000000.5 | humanizeTimestamp }}",
    "{{ if $labels.none }}a{{ else if eq $labels.job `none` }}b{{ else }}c{{ end }} d",
    "x {{- with $labels.job }} on {{ . | toUpper }} {{- end }}{{ with $labels.none }}y{{ end }}.",
    '{{ if and (match "^p" $labels.job) (not (eq $labels.job "x")) }}yes{{ end }}',
    '{{ or $labels.none "nobody" }} {{ if ne $labels.job "" }}{{ with "in" }}{{ . }}{{ end }}{{ end }}',  # noqa: E501  as people write it
    "{{ if gt 2.5 1.5 }}{{ le 1.5 1.5 }}{{ lt 2.5 1.5 }}{{ ge `b` `a` }}{{ end }}",
)


def rules() -> dict[str, Any]:
    plain = [
        {
            "alert": f"Value{number}",
            "expr": f'label_replace(vector({value}), "job", "my-web", "", "")',
            "labels": {"place": "at {{ $labels.job }}"},
            "annotations": {f"a{place}": text for place, text in enumerate(TEXTS)},
        }
        for number, value in enumerate(VALUES)
    ]
    named = 'label_replace(label_replace(vector(1), "job", "my-web", "", ""), "UP", "LOUD", "", "")'
    instance = f'label_replace({named}, "instance", "db.example.com:9100", "", "")'
    texts = {f"a{place}": text for place, text in enumerate(LABELS)}
    other = [
        {"alert": "Labels", "expr": instance, "annotations": texts},
        {"alert": "Pending", "expr": f"vector(time()) > {time.time() - 60:.0f}", "for": "1h"},
        {"alert": "Never", "expr": "vector(1) > 2"},
        {"record": "one", "expr": "vector(1)"},
    ]
    return {"groups": [{"name": "all", "interval": "1s", "rules": [*plain, *other]}]}


def alerts_of(server: Server) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.url}/api/v1/alerts", timeout=10) as answer:
        said = json.load(answer)["data"]["alerts"]
    return [one for one in said if one["state"] == "firing"]


async def test_the_same_file_gives_the_same_alerts(
    prometheus_server: Callable[..., Server], tmp_path: Path
) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(rules()))
    server = prometheus_server(f"rule_files: [{file}]\n")
    deadline = time.monotonic() + 60
    while len(theirs := alerts_of(server)) < len(VALUES) + 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    made = RuleEvaluator(read_rules([str(file)]), server.url)
    async with PrometheusApi(Config.model_validate({"url": server.url})) as api:
        ours = await made.evaluate(api, Millis(round(time.time() * 1000)), 4)
    assert made.problems == ()
    expected = {one["labels"]["alertname"]: one for one in theirs}
    assert len(expected) == len(VALUES) + 1
    assert {dict(one.labels)["alertname"] for one in ours} == set(expected)
    for one in ours:
        assert dict(one.labels) == expected[dict(one.labels)["alertname"]]["labels"]
    differing = [
        (text, dict(one.annotations).get(name, ""))
        for one in ours
        for name, text in expected[dict(one.labels)["alertname"]]["annotations"].items()
        if dict(one.annotations).get(name, "") != text and OVERFLOW not in text
    ]
    assert differing == []
