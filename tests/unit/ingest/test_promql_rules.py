"""Alerting rules in Prometheus's format: files, texts, and when their alerts begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dos.ingest.promql.alerts import RuleEvaluator
from dos.ingest.promql.api import PrometheusApi, QueryError, UnreachableError
from dos.ingest.promql.columns import Answer
from dos.ingest.promql.rule_file import Group, read_rules
from dos.ingest.promql.rule_text import Text
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, DosError
from dos.model.alert import PostedAlert

FILE = """
groups:
  - name: web
    interval: 30s
    limit: 2
    rules:
      - record: job:errors:rate5m
        expr: sum by (job) (rate(errors_total[5m]))
      - alert: ManyErrors
        expr: job:errors:rate5m > 0.1
        for: 1m
        keep_firing_for: 1m
        labels: {severity: page, place: "{{ $labels.zone | toUpper }}"}
        annotations: {summary: "{{ $labels.job }}: {{ $value | humanizePercentage }}"}
"""


def groups(tmp_path: Path, text: str = FILE) -> tuple[Group, ...]:
    file = tmp_path / "rules.yml"
    file.write_text(text)
    return read_rules([str(file)])


class FakeApi(PrometheusApi):
    """Answers with what a test has put there."""

    def __init__(self) -> None:
        self.value: dict[str, float] = {}
        """By job."""
        self.past: dict[str, list[float]] = {}
        self.error: DosError | None = None
        self.asked: list[str] = []

    async def query(self, what: str, promql: str, at: Millis) -> Answer:
        self.asked.append(f"{promql} at {at}")
        return self._answer({job: [at / 1000] for job in self.value})

    async def query_range(
        self, what: str, promql: str, start: Millis, end: Millis, step: Millis
    ) -> Answer:
        self.asked.append(f"{promql} from {start} to {end} by {step}")
        return self._answer({job: self.past.get(job, [end / 1000]) for job in self.value})

    def _answer(self, times: Mapping[str, list[float]]) -> Answer:
        if self.error:
            raise self.error
        count = [len(one) for one in times.values()]
        return Answer(
            labels=[{"__name__": "x", "job": job, "zone": "a"} for job in times],
            which=np.repeat(np.arange(len(count), dtype=np.int32), count),
            at=np.array([at * 1000 for one in times.values() for at in one], np.int64),
            value=np.repeat(np.array(list(self.value.values()), np.float64), count),
        )


async def evaluate(
    made: RuleEvaluator, api: FakeApi, seconds: float, **value: float
) -> list[PostedAlert]:
    api.value = value
    return list(await made.evaluate(api, Millis(round(seconds * 1000)), 4))


async def test_an_alert_is_pending_then_fires_goes_on_and_ends(tmp_path: Path) -> None:
    made, api = RuleEvaluator(groups(tmp_path), "http://prom:9090"), FakeApi()
    assert await evaluate(made, api, 0) == []
    assert await evaluate(made, api, 30, web=0.2) == []
    assert await evaluate(made, api, 60, web=0.2) == []
    assert await evaluate(made, api, 75, web=0.2) == []  # the group is not due
    (alert,) = await evaluate(made, api, 90, web=0.25)
    assert dict(alert.labels) == {
        "alertname": "ManyErrors",
        "job": "web",
        "place": "A",
        "severity": "page",
        "zone": "a",
    }
    assert dict(alert.annotations) == {"summary": "web: 25%"}
    assert (alert.starts_at, alert.ends_at, alert.updated_at) == (30_000, 330_000, 90_000)
    assert alert.generator_url.startswith("http://prom:9090/graph?g0.expr=job%3Aerrors")
    # It is kept for a minute, with what was said last.
    (kept,) = await evaluate(made, api, 120)
    assert (kept.annotations, kept.ends_at) == (alert.annotations, 360_000)
    (over,) = await evaluate(made, api, 150)
    assert (over.fingerprint, over.starts_at, over.ends_at) == (alert.fingerprint, 30_000, 150_000)
    assert await evaluate(made, api, 180) == []


async def test_after_a_restart_the_past_says_since_when(tmp_path: Path) -> None:
    unlimited = groups(tmp_path, FILE.replace("limit: 2", "limit: 0"))
    made, api = RuleEvaluator(unlimited, "http://prom"), FakeApi()
    api.past = {"web": [540, 570, 600], "new": [600], "gap": [540, 600], "gone": [540, 570]}
    (alert,) = await evaluate(made, api, 600, web=0.2, new=0.3, gap=0.4, gone=0.5)
    assert dict(alert.labels)["job"] == "web"
    assert alert.starts_at == 540_000
    assert api.asked == ["job:errors:rate5m > 0.1 from 540000 to 600000 by 30000"]
    await evaluate(made, api, 630, web=0.2)
    assert api.asked[1:] == ["job:errors:rate5m > 0.1 at 630000"]


async def test_too_many_and_equal_ones_are_a_problem(tmp_path: Path) -> None:
    made, api = RuleEvaluator(groups(tmp_path), "http://prom"), FakeApi()
    assert await evaluate(made, api, 600, a=1, b=1, c=1) == []
    assert "rule web/ManyErrors: 3 alerts; the group's limit is 2" in made.problems[0]
    assert await evaluate(made, api, 630, a=1, b=1) == []
    assert made.problems == ()
    text = FILE.replace("place:", "job: x, place:")
    same = RuleEvaluator(groups(tmp_path, text), "http://prom")
    assert await evaluate(same, api, 600, a=1, b=1) == []
    assert "two series have the same labels" in same.problems[0]


async def test_while_the_server_is_away_nothing_ends(tmp_path: Path) -> None:
    made, api = RuleEvaluator(groups(tmp_path), "http://prom"), FakeApi()
    api.past = {"web": [540, 570, 600]}
    assert len(await evaluate(made, api, 600, web=0.2)) == 1
    for error in (UnreachableError("Nobody is there."), QueryError("It is wrong.")):
        api.error = error
        assert await evaluate(made, api, 630, web=0.2) == []
        assert str(error) in made.problems[0]
        api.error = None
    (alert,) = await evaluate(made, api, 660, web=0.2)
    assert alert.starts_at == 540_000
    assert made.problems == ()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("alert: ManyErrors", "alertt: ManyErrors", r"rules.yml:9:9: .*alertt"),
        ("alert: ManyErrors\n", "alert: A\n        record: b\n", "either alert or record"),
        ("$labels.zone | toUpper", "$labels.zone | query", r"rules.yml:13.*'query' is not known"),
        ("$value | humanizePercentage", "range $value", "'range' is not known"),
        ("$value | humanizePercentage", "$value", None),
        ("$value | humanizePercentage }}", "$value", "not closed"),
        ("severity: page", "a-b: page", "not the name of a label"),
        ("for: 1m", "for: soon", "not a duration"),
        ("groups:", "group:", "group"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    tmp_path: Path, before: str, after: str, words: str | None
) -> None:
    assert before in FILE
    if words is None:
        assert groups(tmp_path, FILE.replace(before, after))
        return
    with pytest.raises(ConfigError, match=words):
        groups(tmp_path, FILE.replace(before, after))


def test_files_are_found_by_patterns(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text(FILE.replace("web", name))
    assert [one.name for one in read_rules([str(tmp_path / "*.yml")])] == ["a.yml", "b.yml"]
    with pytest.raises(ConfigError, match="no file matches"):
        read_rules([str(tmp_path / "*.yaml")])
    with pytest.raises(ConfigError, match=r"c.yml.*cannot be read"):
        read_rules([str(tmp_path / "c.yml")])


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ }}",
        "{{ ( }}",
        "{{ $labels }}",
        "{{ $labels.a.b }}",
        "{{ $value | }}",
        "{{ $value $value }}",
        "{{ humanize }}",
        "{{ range query }}",
        '{{ template "x" }}',
        "{{ $value.__class__ }}",
        "x" * 10_001,
        "{{ if $value }}x",
        "{{ end }}",
        "{{ else }}",
        "{{ if $value }}{{ end x }}",
        "{{ if $value }}{{ else }}{{ else }}{{ end }}",
        "{{ if $value }}{{ else }}{{ else if $value }}{{ end }}",
        "{{ if $value }}{{ else what }}{{ end }}",
        "{{ with $value }}{{ else if $value }}{{ end }}",
        "{{ if }}{{ end }}",
        "{{ or }}",
        "{{ if $value }}" * 9 + "{{ end }}" * 9,
    ],
)
def test_texts_that_are_not_known_here_are_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"not known|not closed|takes|characters|no \{\{ end|each other"
    ):
        Text.of(text)


def test_a_text_that_fails_does_not_keep_the_alert() -> None:
    said = Text.of('{{ humanize $labels.job }} {{ reReplaceAll "(" "" "x" }}').fill({}, 1.0)
    assert said.startswith("<error expanding template: ")
    mixed = Text.of("{{ if gt $labels.job 1.5 }}x{{ end }}").fill({"job": "web"}, 1.0)
    assert mixed.startswith("<error expanding template: ")
    many: dict[str, Any] = {"a": "x" * 9_000}
    assert len(Text.of("{{ $labels.a }}" * 10).fill(many, 1.0)) == 10_000
