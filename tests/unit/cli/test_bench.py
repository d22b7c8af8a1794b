"""`dos bench sim`: options, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import dos.evaluate.bench.run
from dos.cli.main import app
from dos.evaluate.bench.card import SCORE_CARD, ScoreCard
from dos.evaluate.bench.flight import BenchOptions, Split, quick
from dos.evaluate.bench.run import BenchProgress
from tests.unit.evaluate.bench_flown import card, results


class Flown:
    """Stands for the bench itself, which has tests of its own."""

    def __init__(self, made: ScoreCard) -> None:
        self.made = made
        self.options: BenchOptions | None = None

    def __call__(
        self, options: BenchOptions, progress: Callable[[BenchProgress], None]
    ) -> ScoreCard:
        self.options = options
        progress(BenchProgress(share=0.5, flown=1, planned=2))
        return self.made


@pytest.fixture
def flown(monkeypatch: pytest.MonkeyPatch) -> Flown:
    stand_in = Flown(card())
    monkeypatch.setattr(dos.evaluate.bench.run, "run_bench", stand_in)
    return stand_in


def bench(*words: str) -> Result:
    return CliRunner().invoke(app, ["bench", "sim", *words])


def test_the_defaults_are_held_out(flown: Flown) -> None:
    result = bench("--jobs", "3")
    assert result.exit_code == 0, result.output
    assert flown.options == BenchOptions(split=Split.HELD_OUT, jobs=3)
    assert "Figures" in result.stdout
    assert result.stderr == "1 of 2 flights\n"
    assert max(len(line) for line in result.stdout.splitlines()) <= 100


def test_what_is_asked_for_is_flown(flown: Flown) -> None:
    words = ["--worlds", "shop, generated:8,shop", "--seeds", "30", "--split", "dev"]
    assert bench(*words).exit_code == 0
    assert flown.options is not None
    assert flown.options.worlds == ("shop", "generated:8")
    assert (flown.options.seeds, flown.options.split) == (30, Split.DEV)


def test_quick_can_be_changed_too(flown: Flown) -> None:
    assert bench("--quick", "--jobs", "1").exit_code == 0
    assert flown.options == quick(jobs=1)
    assert bench("--quick", "--seeds", "2", "--worlds", "sketch").exit_code == 0
    assert flown.options is not None
    assert (flown.options.seeds, flown.options.worlds) == (2, ("sketch",))


def test_files_are_written(flown: Flown, tmp_path: Path) -> None:
    files = {name: tmp_path / f"card.{name}" for name in ("json", "markdown", "html")}
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert bench(*words).exit_code == 0
    assert SCORE_CARD.validate_json(files["json"].read_bytes()) == flown.made
    assert files["markdown"].read_text().startswith("# Score card")
    assert files["html"].read_text().startswith("<!doctype html>")


def test_json_on_standard_output_is_alone_there(flown: Flown) -> None:
    result = bench("--json", "-")
    assert json.loads(result.stdout)["planned"] == flown.made.planned


def test_an_interrupted_bench_prints_what_there_is(flown: Flown) -> None:
    flown.made = card(results()[:2])
    result = bench()
    assert result.exit_code == 130
    assert "2 of 8 flights" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--worlds", "atlantis"], 1, "There is no world 'atlantis'"),
        (["--worlds", "generated:7x"], 1, "Write for example generated:30"),
        (["--worlds", ","], 1, "out of range"),
        (["--seeds", "0"], 2, "--seeds"),
        (["--split", "mine"], 2, "--split"),
        (["--html", "/nowhere/at/all.html"], 2, "no directory"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_flown(
    flown: Flown, words: list[str], code: int, says: str
) -> None:
    result = bench(*words)
    assert result.exit_code == code
    assert says in " ".join(result.output.split())
    assert flown.options is None
