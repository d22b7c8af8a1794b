"""`dos rules test`: tests of rules in the style of promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dos.alerting.rule_tests import InputSeries
from dos.cli.main import app
from tests.conftest import require_binary

CONFIG = """
alerting:
  rules:
    - alert: HighCpu
      metric: cpu
      above: 0.8
      for: 2m
      keep_firing_for: 1m
      severity: critical
      labels: {team: web}
      annotations: {summary: "High CPU in {entity}: {value:.0%}"}
    - {alert: Errors, metric: errors, of: requests, above: 0.1}
    - {alert: Strange, anomaly: {score: 0.8, metrics: 2}, for: 1m}
"""
TESTS = """
rule_files: [config.yaml]
tests:
  - name: a high load is told after two minutes
    interval: 1m
    input_series:
      - series: 'cpu{entity="shop/web", zone="a"}'
        values: 0.5 0.9x4 0.1x3
      - series: 'cpu{entity="shop/db"}'
        values: "0.9 _x9"
    alert_rule_test:
      - {eval_time: 2m30s, alertname: HighCpu}
      - eval_time: 3m
        alertname: HighCpu
        exp_alerts:
          - exp_labels:
              {service: shop/web, metric: cpu, zone: a, team: web, severity: critical}
            exp_annotations: {summary: "High CPU in shop/web: 90%"}
      - eval_time: 6m
        alertname: HighCpu
        exp_alerts:
          - exp_labels:
              {service: shop/web, metric: cpu, zone: a, team: web, severity: critical}
            exp_annotations: {summary: "High CPU in shop/web: 90%"}
      - {eval_time: 7m, alertname: HighCpu}
  - name: ratios and anomalies
    input_series:
      - {series: 'errors{entity="pay"}', values: 0+5x5}
      - {series: 'requests{entity="pay"}', values: 100x5}
    input_anomalies:
      - {entity: pay, metric: cpu, score: 0.9, until: 4m}
      - {entity: pay, metric: latency, score: 0.85, from: 1m, until: 4m}
    alert_rule_test:
      - {eval_time: 2m, alertname: Errors}
      - eval_time: 3m
        alertname: Errors
        exp_alerts: [exp_labels: {service: pay, metric: errors, severity: warning}]
      - eval_time: 3m
        alertname: Strange
        exp_alerts: [exp_labels: {service: pay, severity: warning}]
      - {eval_time: 4m, alertname: Strange}
"""


def files(tmp_path: Path, tests: str = TESTS, config: str = CONFIG) -> str:
    (tmp_path / "config.yaml").write_text(config)
    file = tmp_path / "tests.yaml"
    file.write_text(tests)
    return str(file)


def test_what_is_as_expected(tmp_path: Path) -> None:
    file = files(tmp_path)
    said = CliRunner().invoke(app, ["rules", "test", file])
    assert said.exit_code == 0, said.output
    assert "2 tests, all as expected" in said.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "2m30s, alertname: HighCpu}",
            "3m, alertname: HighCpu}",
            ["expected: nothing", "shop/web"],
        ),
        ('summary: "High CPU in shop/web: 90%"', "summary: x", ['summary="x"', "90%"]),
        ("eval_time: 7m", "eval_time: 1h", []),
        ("[exp_labels: {service: pay, severity: warning}]", "[]", ["Strange at 3m", "pay"]),
    ],
)
def test_what_is_not_as_expected_is_shown(
    tmp_path: Path, before: str, after: str, words: list[str]
) -> None:
    assert before in TESTS
    said = CliRunner().invoke(
        app, ["rules", "test", files(tmp_path, TESTS.replace(before, after, 1))]
    )
    assert said.exit_code == (1 if words else 0), said.output
    for word in words:
        assert word in said.output


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("0.5 0.9x4 0.1x3", "0.5 high", "tests.yaml:8:17: tests[0].input_series[0].values"),
        ("0.5 0.9x4 0.1x3", "1x9999999", "more than 1000000 samples"),
        ('cpu{entity="shop/db"}', 'cpu{zone="a"}', "needs the label entity"),
        ('cpu{entity="shop/db"}', 'cpu{entity=~"a"}', "only = between"),
        ('cpu{entity="shop/db"}', "cpu", "write it as"),
        ("eval_time: 7m", "eval_time: 9999d", "is eval_time right"),
        ("alert_rule_test:", "alert_rules_test:", "alert_rules_test"),
        ("[config.yaml]", "[]", "rule_files"),
        ("[config.yaml]", "[gone.yaml]", "gone.yaml"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    assert before in TESTS
    said = CliRunner().invoke(
        app, ["rules", "test", files(tmp_path, TESTS.replace(before, after, 1))]
    )
    assert said.exit_code == 1, said.output
    assert words in said.output.replace("\n", " ")


@pytest.mark.parametrize(
    "text",
    ["1 2 3", "0+1x3", "10-2x4", "5x2", "_", "_x3", "1 _x2 3", "1.5+0.5x2", "-1+1x2", "1e2x1"],
)
def test_values_are_written_as_promtool_has_them(tmp_path: Path, text: str) -> None:
    """promtool is told to expect, at each time, what was read here; it says so if it differs."""
    values = InputSeries.model_validate({"series": 'm{entity="e"}', "values": text}).values
    expected = [
        {
            "expr": "m",
            "eval_time": f"{place}m",
            "exp_samples": [{"labels": 'm{entity="e"}', "value": value}],
        }
        for place, value in enumerate(values)
        if value is not None
    ]
    count = sum(one is not None for one in values)
    said = [{"labels": '{entity="e"}', "value": count}] if count else []
    counted = {"expr": "count_over_time(m[10h])", "eval_time": "5h", "exp_samples": said}
    expected.append(counted)
    test = {"interval": "1m", "input_series": [{"series": 'm{entity="e"}', "values": text}]}
    file = tmp_path / "promtool.yaml"
    file.write_text(yaml.safe_dump({"tests": [{**test, "promql_expr_test": expected}]}))
    promtool = require_binary("promtool")
    command = [promtool, "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
