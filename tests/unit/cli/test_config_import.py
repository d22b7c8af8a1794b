"""`dos config import`: the channels of an Alertmanager become receivers of DOS."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dos.app import wiring
from dos.app.settings_load import load
from dos.cli.main import app
from dos.kit.clock import SystemClock
from tests.conftest import require_binary

FILE = """
global:
  resolve_timeout: 3m
  smtp_smarthost: mx.example.com:587
  smtp_from: dos@example.com
  smtp_auth_username: dos
  smtp_auth_password: smtps3cret
  slack_api_url: https://hooks.slack.com/services/T00000000/B00000000/slacks3cret
  opsgenie_api_key_file: {folder}/opsgenie
templates: ['{folder}/*.tmpl']
route:
  receiver: team
  group_by: [alertname]
  routes:
    - {{matchers: ['severity="critical"'], receiver: pagers}}
    - {{matchers: ['team="db"'], receiver: db}}
    - {{matchers: ['team="none"'], receiver: nobody}}
receivers:
  - name: nobody
  - name: team
    email_configs:
      - {{to: 'ops@example.com, boss@example.com', headers: {{Subject: hello, X-Own: yes}}}}
    slack_configs:
      - {{api_url: 'https://slack.com/api/chat.postMessage', channel: '#ops'}}
      - {{channel: '#ops', send_resolved: true, title: '{{{{ template "own.title" . }}}}',
         text: '{{{{ printf "%s" .Status }}}}'}}
  - name: pagers
    pagerduty_configs:
      - {{routing_key: 0123456789abcdef0123456789abcdef}}
      - {{service_key: 0123456789abcdef0123456789abcdef}}
    opsgenie_configs: [{{responders: [{{type: team, name: ops}}]}}]
  - name: db
    webhook_configs:
      - url: https://hooks.example.com/one
        http_config: {{authorization: {{credentials: hooks3cret}}}}
      - url: https://hooks.example.com/two
    telegram_configs: [{{bot_token: telegrams3cret, chat_id: 5}}]
"""
SECRETS = ("smtps3cret", "slacks3cret", "0123456789abcdef", "hooks3cret", "telegrams3cret")


def alertmanager(tmp_path: Path, text: str = FILE) -> Path:
    (tmp_path / "opsgenie").write_text("eb243592-faa2-4ba2-a551q-1afdf565c889\n")
    (tmp_path / "own.tmpl").write_text(
        '{{ define "own.title" }}{{ .CommonLabels.alertname | toUpper }}{{ end }}'
    )
    file = tmp_path / "alertmanager.yml"
    file.write_text(text.format(folder=tmp_path))
    return file


def imported(tmp_path: Path, *options: str) -> Any:
    file = alertmanager(tmp_path)
    return CliRunner().invoke(app, ["config", "import", str(file), *options])


def test_the_file_of_this_test_is_one_of_alertmanagers(tmp_path: Path) -> None:
    command = [require_binary("amtool"), "check-config", str(alertmanager(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_printed_is_a_configuration_that_works(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    said = imported(tmp_path, "--secrets", str(folder))
    assert said.exit_code == 0, said.output
    config = tmp_path / "config.yaml"
    config.write_text(said.stdout)
    settings = load(config).settings
    assert [(one.title, one.type) for one in settings.alerting.receivers] == [
        ("team/email", "email"),
        ("team/slack-2", "slack"),
        ("pagers/opsgenie", "opsgenie"),
        ("pagers/pagerduty-1", "pagerduty"),
        ("db/webhook-1", "webhook"),
        ("db/webhook-2", "webhook"),
    ]
    assert [one.subject for one in settings.alerting.receivers[:2]] == [
        "hello",
        "{{ (commonLabels['alertname'] | toUpper) }}",
    ]
    mail = settings.alerting.receivers[0].config.model_dump()
    assert (mail["smarthost"], mail["port"], mail["tls"]) == ("mx.example.com", 587, "starttls")
    assert mail["to"] == ("ops@example.com", "boss@example.com")
    assert (mail["from_"], mail["username"]) == ("dos@example.com", "dos")
    assert mail["password"].reveal() == "smtps3cret"
    hook = settings.alerting.receivers[4].config.model_dump()
    assert hook["authorization"].reveal() == "Bearer hooks3cret"
    assert len(wiring.build_notifiers(settings, SystemClock())) == 6
    routing = wiring.routing_of(settings, wiring.receivers_of(settings))
    assert routing.resolve_timeout == 180
    assert routing.channels("team") == ("team/email", "team/slack-2")
    assert routing.channels("nobody") == ()
    assert routing.channels("pagers") == ("pagers/opsgenie", "pagers/pagerduty-1")


def test_secrets_are_in_files_that_only_the_user_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    said = imported(tmp_path, "--secrets", str(folder))
    assert not [one for one in SECRETS if one in said.output]
    files = sorted(folder.iterdir())
    assert [one.name for one in files] == [
        "db-webhook-1-authorization",
        "pagers-pagerduty-1-routing_key",
        "team-email-password",
        "team-slack-2-webhook_url",
    ]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    # What is there is not overwritten.
    again = imported(tmp_path, "--secrets", str(folder))
    assert again.exit_code == 1
    assert "cannot be written" in again.output


def test_without_a_place_for_secrets_nothing_is_printed(tmp_path: Path) -> None:
    said = imported(tmp_path)
    assert said.exit_code == 1
    assert "holds 4 secrets" in said.output
    assert not [one for one in SECRETS if one in said.output]


def test_what_is_not_taken_over_is_said(tmp_path: Path) -> None:
    said = imported(tmp_path, "--secrets", str(tmp_path / "secrets"))
    notes = said.stderr
    for expected in (
        "team: email_configs[0]: headers: not taken over; DOS has its own words",
        "team: slack_configs[1]: channel: an incoming webhook belongs to one channel",
        "team: slack_configs[0]: not taken over: a bot token",
        "team: slack_configs[1]: text: not taken over, as the function printf has no counterpart",
        "pagers: pagerduty_configs[1]: service_key is of version 1",
        "pagers: pagerduty_configs[1]: not taken over: routing_key is missing",
        "pagers: opsgenie_configs[0]: responders: not taken over",
        "db: telegram_configs[0]: not taken over; the type apprise reaches it",
    ):
        assert expected in " ".join(notes.split()), expected
    assert yaml.safe_load(said.stdout)["alerting"]["routes_file"].endswith("alertmanager.yml")


@pytest.mark.parametrize("text", ["route: {{}}", "nonsense: [", "\x00"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str) -> None:
    file = alertmanager(tmp_path, text)
    said = CliRunner().invoke(app, ["config", "import", str(file)])
    assert said.exit_code == 1
    assert "alertmanager.yml" in said.output
    gone = CliRunner().invoke(app, ["config", "import", str(tmp_path / "gone.yml")])
    assert "cannot be read" in gone.output
