"""`dos alerts inhibit-rules` prints what an Alertmanager reads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dos.api.schemas import GraphOut
from dos.cli import alerts
from dos.cli.main import app
from tests.unit.alerting.test_dependents import SHOP


def test_the_graph_of_a_running_dos_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(method: str, path: str, *_: object, **__: object) -> Any:
        asked.append(f"{method} {path}")
        return GraphOut.of(SHOP).model_dump(mode="json", by_alias=True)

    monkeypatch.setattr(alerts, "ask", ask)
    said = CliRunner().invoke(app, ["alerts", "inhibit-rules"])
    assert said.exit_code == 0, said.output
    rules = yaml.safe_load(said.output)["inhibit_rules"]
    assert asked == ["GET /api/v1/graph"]
    assert {one["source_matchers"][0]: one["target_matchers"][0] for one in rules} == {
        'service="checkout"': 'service=~"frontend"',
        'service="db"': 'service=~"checkout|frontend|payment"',
        'service="payment"': 'service=~"checkout|frontend"',
        'service="search"': 'service=~"frontend"',
    }
