"""`dos backtest` and `dos models` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dos.cli.main import app
from tests.unit.evaluate.recorded import write_case


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.yaml and no data of the developer's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOS_CONFIG", raising=False)


@pytest.fixture
def case(tmp_path: Path) -> str:
    return str(write_case(tmp_path / "set" / "case-001"))


@pytest.fixture
def deaf(tmp_path: Path) -> str:
    path = tmp_path / "deaf.yaml"
    path.write_text(yaml.safe_dump({"detect": {"threshold": {"minimum": 100}, "confirm": 90}}))
    return str(path)


def dos_(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_the_pages_of_a_case_are_printed_with_what_they_are_worth(case: str) -> None:
    shown = dos_("backtest", case)
    assert shown.exit_code == 0, shown.output
    assert "1 page, 1 right" in shown.stdout
    assert "found 1 of 1 that were real" in shown.stdout
    assert "(right)" in shown.stdout


def test_another_configuration_is_compared_page_by_page(case: str, deaf: str) -> None:
    shown = dos_("backtest", case, "--config", deaf)
    assert shown.exit_code == 0, shown.output
    assert "- gone:" in shown.stdout
    report = json.loads(dos_("backtest", case, "--config", deaf, "--json").stdout)
    assert [one["difference"] for one in report["changes"]] == ["gone"]
    assert report["present"]["tally"]["found"] == 1
    assert report["other"]["tally"]["found"] == 0


def test_without_history_it_says_what_to_do() -> None:
    shown = dos_("backtest")
    assert shown.exit_code == 1
    assert "There is no history in data." in shown.stderr


def test_a_candidate_is_made_compared_forced_and_rolled_back(case: str, deaf: str) -> None:
    assert dos_("models", "shadow", "deaf", "--from", deaf, "--by", "ann").exit_code == 0
    refused = dos_("models", "promote", "deaf", "--recording", case)
    assert refused.exit_code == 1
    assert "not better" in refused.stdout
    assert "finds 0 of" in refused.stdout
    tried = dos_("models", "promote", "deaf", "--recording", case, "--dry-run")
    assert tried.exit_code == 0
    status = json.loads(dos_("models", "list", "--json").stdout)
    assert status["live"] is None
    forced = dos_("models", "promote", "deaf", "--recording", case, "--force", "--by", "ann")
    assert forced.exit_code == 0, forced.output
    status = json.loads(dos_("models", "list", "--json").stdout)
    assert status["live"] == "deaf"
    assert "forced although" in status["log"][0]["note"]
    # What is live now is what the next backtest calls the present.
    assert "0 pages" in dos_("backtest", case).stdout
    back = dos_("models", "rollback", "--by", "bob", "--note", "deaf")
    assert "what the configuration says" in back.stdout
    assert "bob rolled_back -: deaf" in dos_("models", "list").stdout


def test_mistakes_are_one_line(deaf: str) -> None:
    assert dos_("models", "shadow", "--from", deaf).exit_code == 2
    assert dos_("models", "promote", "nobody").exit_code == 1
    assert dos_("models", "rollback").exit_code == 1
    assert "There is no model 'x'" in dos_("models", "shadow", "x").stderr
