"""`dos simulate record`: cases as files, about one fault, a timeline, or chance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dos.cli.main import app
from dos.kit.clock import SECOND, from_rfc3339
from dos.simulate.record import LOGS

START = "2026-11-23T14:00:00Z"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)


def record(*words: str) -> Result:
    usual = ("--world", "sketch", "--start", START, "--traces", "2", "--logs", "20")
    return CliRunner().invoke(app, ["simulate", "record", *words, *usual])


def told(folder: str) -> dict[str, object]:
    case: dict[str, object] = json.loads(Path(folder, "case.json").read_text())
    return case


def test_a_case_about_one_fault(tmp_path: Path) -> None:
    result = record(
        "case-1", "--fault", "error-rate", "--target", "order-service", "--severity", "0.9",
        "--lasting", "2m", "--after", "3m", "--duration", "8m", "--normal", "10m",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    case = told("case-1")
    # Ten minutes of healthy past, then three of the case.
    assert case["inject_time"] == (from_rfc3339(START) / SECOND) + 13 * 60
    assert case["root_cause"] == {"entity": "order-service"}
    names = {path.name for path in (tmp_path / "case-1").iterdir()}
    assert {"metrics.csv.gz", "normal.csv.gz", "traces.csv.gz", "edges.csv", LOGS} <= names
    assert "about: Error rate increase of order-service at 14:13:00 UTC" in result.stdout
    replayed = CliRunner().invoke(app, ["replay", "case-1"])
    assert replayed.exit_code == 0, replayed.output
    assert "order-service" in replayed.stdout


def test_a_case_of_a_scenario_begins_after_the_healthy_past() -> None:
    result = record("case-2", "--scenario", "classics", "--duration", "4m", "--normal", "5m",
                    "--format", "parquet")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "about: CPU spike of payment-service at 14:05:30 UTC" in result.stdout
    assert Path("case-2", "metrics.parquet").exists()


def test_a_case_in_which_nothing_breaks() -> None:
    result = record("case-3", "--duration", "2m", "--normal", "0s")
    assert result.exit_code == 0, result.output
    assert "about: nothing went wrong" in result.stdout
    assert "inject_time" not in told("case-3")
    assert not Path("case-3", "normal.csv.gz").exists()


def test_a_case_of_chance() -> None:
    result = record("case-4", "--incidents", "random", "--only", "cpu_spike", "--duration", "20m",
                    "--normal", "0s", "--seed", "4")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert told("case-4")["fault"] == "cpu_spike"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--fault", "cpu_spike"), 2, "write both --fault TYPE and --target NAME"),
        (("--target", "order-service"), 2, "write both --fault TYPE and --target NAME"),
        (("--fault", "flood", "--target", "order-service"), 2, "'flood' is no kind of incident"),
        (("--fault", "disk_full", "--target", "order-service"), 1, "cannot have the fault"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], code: int, message: str) -> None:
    result = record("case-5", *words)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not Path("case-5").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    result = record("full", "--duration", "2m")
    assert result.exit_code == 1
    assert "full has something in it." in result.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
