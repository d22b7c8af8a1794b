"""`dos notify`: a test alert arrives, or what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dos.cli.main import app
from tests.receiver import webhook_receiver


def config(tmp_path: Path, url: str) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(
        "alerting:\n  receivers:\n"
        f"  - {{type: webhook, name: hook, url: {json.dumps(url)}, allow_hosts: ['127.0.0.1']}}\n"
        "  - {type: console, name: screen, min_severity: sev2}\n"
    )
    return str(file)


def test_a_receiver_hears_the_beginning_and_the_end(tmp_path: Path) -> None:
    with webhook_receiver() as received:
        said = CliRunner().invoke(
            app, ["notify", "test", "hook", "-c", config(tmp_path, received.url)]
        )
    assert said.exit_code == 0, said.output
    assert [body["status"] for _, body in received.requests] == ["firing", "resolved"]
    (alert,) = received.requests[0][1]["alerts"]
    assert alert["labels"]["alertname"] == "DosTest"
    assert "nothing is wrong" in alert["annotations"]["summary"]
    assert len(set(received.keys)) == 2


def test_receivers_are_listed(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        app, ["notify", "list", "-c", config(tmp_path, "https://example.org/")]
    )
    assert said.output.splitlines() == [
        "hook  webhook  from sev4 on",
        "screen  console  from sev2 on",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fax"], 2, "there are: hook, screen"),
        (["hook", "--severity", "bad"], 2, "sev1 to sev4"),
        (["hook"], 1, "127.0.0.1"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    file = config(tmp_path, "http://127.0.0.1:9/closed")
    said = CliRunner().invoke(app, ["notify", "test", *arguments, "-c", file])
    assert said.exit_code == code
    assert words in said.output
