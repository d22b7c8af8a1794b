"""Alertmanager's templates in DOS's language, compared with what amtool makes of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.alerting.gotemplate import defined, translated
from dos.alerting.message import Worded
from dos.alerting.words import Words, checked_template
from dos.kit.clock import to_rfc3339
from dos.model.alert import Alert, AlertState, Notification
from dos.model.ids import AlertId
from dos.model.impact import Severity
from tests.unit.alerting.builders import START, at

FILE = """
{{ define "team.title" }}[{{ .Status | toUpper }}{{ if eq .Status "firing" }}:{{ .Alerts.Firing | len }}{{ end }}] {{ .CommonLabels.alertname }}{{ end }}
{{ define "team.line" -}}
  * {{ .Labels.instance }}{{ with .Annotations.summary }}: {{ . }}{{ end }}
{{- end }}
{{ define "team.text" }}{{ range .Alerts }}{{ template "team.line" . }}
{{ end }}{{ end }}
"""  # noqa: E501  as people write it

SAME = [
    "plain {% text %} {# with signs #}",
    "{{ .Status }} of {{ .Receiver }}",
    "{{ .CommonLabels.alertname }} {{ .CommonLabels.missing }}|",
    "{{ .GroupLabels.alertname | toUpper }} {{ title .CommonLabels.job }}",
    "{{ range .Alerts }}{{ .Labels.instance }};{{ end }}",
    "{{ range .Alerts.Firing }}+{{ .Labels.instance }}{{ end }}{{ range .Alerts.Resolved }}-{{ .Labels.instance }}{{ end }}",  # noqa: E501  as above
    "{{ range $i := .Alerts }}{{ $i.Status }},{{ $.Receiver }} {{ end }}",
    "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}",
    "{{ range $k, $v := .CommonLabels }}{{ $k }}:{{ $v }} {{ end }}",
    '{{ range (.CommonLabels.Remove (stringSlice "job" "alertname")).SortedPairs }}{{ .Name }} {{ end }}',  # noqa: E501  as above
    '{{ if eq .Status "firing" }}fires{{ else }}is over{{ end }}',
    '{{ if and (eq .Status "firing") (gt (len .Alerts) 1) }}many{{ else if .Alerts }}one{{ end }}',
    "{{ if or .CommonLabels.nothing .CommonLabels.job }}a{{ end }}{{ if not .CommonLabels.no }}b{{ end }}",  # noqa: E501  as above
    "{{ if ne .CommonLabels.job `api` }}x{{ else }}y{{ end }}",
    "a \n {{- .Status -}} \n b {{- /* nothing */ -}} c",
    '{{ reReplaceAll "(.*)-(.*)" "$2/$1" .CommonLabels.zone }}',
    '{{ .CommonLabels.zone | reReplaceAll "e." "E" | toUpper }}',
    '{{ if match "^eu" .CommonLabels.zone }}Europe{{ end }}',
    "{{ with .CommonAnnotations.runbook_url }}see {{ . }}{{ else }}no runbook{{ end }}",
    "{{ with .CommonLabels.nothing }}see {{ . }}{{ else }}none in {{ .Receiver }}{{ end }}",
    '{{ template "team.title" . }}\n{{ template "team.text" . }}',
    '{{ index .CommonLabels "job" }}',
    '{{ "quoted \\"text\\"" }} {{ `raw \\n` }}',
]

OTHER = [
    ("{{ .ExternalURL }}", r"\.ExternalURL"),
    ('{{ printf "%s" .Status }}', "printf"),
    ("{{ $x := .Status }}{{ $x }}", r"\$x"),
    ("{{ range $i, $a := .Alerts }}{{ $i }}{{ end }}", "number of a round"),
    ("{{ range .Alerts }}", "no end"),
    ("{{ end }}", "nothing that it ends"),
    ("{{ .Alerts }}", "not a text"),
    ("{{ .Status", "not closed"),
    ('{{ template "nobody" . }}', "no template nobody"),
    ("{{ range .Status }}{{ end }}", "goes over lists"),
    ("{{ .Labels.x }}", r"\.Labels"),
    ("{{ len . }}", "whole notification"),
    ("{{ if . }}x{{ end }}", "whole notification"),
    ("{{ ( }}", "missing"),
    ("{{ }}", "missing"),
    ("{{ toUpper }}", "takes 1"),
    ("{{ % }}", "not understood"),
    ("{{ define `x` }}{{ end }}", "define"),
]


def _alert(instance: str, state: AlertState, summary: str) -> Alert:
    over = state is AlertState.RESOLVED
    labels = {"alertname": "DiskFull", "instance": instance, "job": "api", "zone": "eu-west"}
    facts = {"summary": summary, "runbook_url": "https://r.example/1"} if summary else {}
    return Alert(
        id=AlertId(instance),
        fingerprint=f"fp-{instance}",
        state=state,
        severity=Severity.SEV2,
        labels=tuple(sorted(labels.items())),
        annotations=tuple(sorted(facts.items())),
        starts_at=START,
        ends_at=at(60) if over else None,
        updated_at=START,
        generator_url="http://prometheus/graph",
    )


TOLD = Notification(
    id="n",
    receiver="team",
    alert=_alert("db-1", AlertState.FIRING, "97% full"),
    others=(
        _alert("db-2", AlertState.FIRING, "99% full"),
        _alert("db-3", AlertState.RESOLVED, "was full"),
    ),
    created_at=START,
    route="{}",
    group=(("alertname", "DiskFull"),),
)


def _data(notification: Notification) -> dict[str, object]:
    """What Alertmanager's templates are shown."""

    def common(name: str) -> dict[str, str]:
        every = [set(getattr(one, name)) for one in notification.alerts]
        return dict(sorted(set.intersection(*every)))

    return {
        "receiver": notification.receiver,
        "status": notification.state.value,
        "alerts": [
            {
                "status": one.state.value,
                "labels": dict(one.labels),
                "annotations": dict(one.annotations),
                "startsAt": to_rfc3339(one.starts_at),
                "endsAt": to_rfc3339(one.ends_at or one.starts_at),
                "generatorURL": one.generator_url,
                "fingerprint": one.fingerprint,
            }
            for one in notification.alerts
        ],
        "groupLabels": dict(notification.group),
        "commonLabels": common("labels"),
        "commonAnnotations": common("annotations"),
        "externalURL": "http://dos",
    }


def ours(source: str, notification: Notification = TOLD) -> str:
    made = checked_template(translated(source, defined(FILE)))
    told = Words(text=made).of(notification)
    assert isinstance(told, Worded)
    return told.own_text


@pytest.mark.parametrize("source", SAME)
def test_says_what_amtool_makes_of_it(
    source: str, tmp_path: Path, require_binary: Callable[[str], str]
) -> None:
    amtool = require_binary("amtool")
    (tmp_path / "team.tmpl").write_text(FILE)
    for number, told in enumerate(
        [TOLD, replace(TOLD, others=()), replace(TOLD, alert=TOLD.others[1], others=())]
    ):
        data = tmp_path / f"{number}.json"
        data.write_text(json.dumps(_data(told)))
        real = subprocess.run(
            [
                amtool, "template", "render", f"--template.glob={tmp_path / '*.tmpl'}",
                f"--template.text={source}", f"--template.data={data}",
            ],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert ours(source, told) == real.stdout.strip()


@pytest.mark.parametrize(("source", "why"), OTHER)
def test_what_has_no_counterpart_is_refused(source: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        translated(source, {})


def test_alertmanagers_own_texts_are_those_of_dos() -> None:
    title, text = '{{ template "slack.default.title" . }}', '{{ template "email.default.html" . }}'
    assert translated(title).split() == ["{{", "own_subject", "}}"]
    assert translated(text).split() == ["{{", "own_text", "}}"]


def test_templates_that_call_themselves_end() -> None:
    with pytest.raises(ValueError, match="deep"):
        translated('{{ template "x" . }}', {"x": '{{ template "x" . }}'})
    with pytest.raises(ValueError, match="has no end"):
        defined('{{ define "x" }}{{ if .Status }}{{ end }}')


PARTS = st.sampled_from(
    ["{{", "}}", " ", ".", "$", "range", "if", "end", "else", "with", ".Alerts", ".Labels.x", "(",
     ")", "|", '"', "`", "{%", "%}", "len", "eq", ":=", "-", "define", "template", "\n", "0"]
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(PARTS, max_size=25))
def test_whatever_is_written_is_translated_or_refused(parts: list[str]) -> None:
    source = "".join(parts)
    try:
        made = translated(source, {})
    except ValueError:
        return
    if made.count("{% for") <= 2:  # the sandbox's own bound
        checked_template(made)
