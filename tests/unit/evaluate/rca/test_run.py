"""`dos bench rca`: recorded and simulated cases, processes, command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dos.cli.main import app
from dos.evaluate.rca.card import RCA_CARD, RcaCard
from dos.evaluate.rca.contenders import BASELINES, Side
from dos.evaluate.rca.perturb import VARIANTS
from dos.evaluate.rca.pool import in_order
from dos.evaluate.rca.run import (
    PLAIN,
    RcaOptions,
    RcaProgress,
    Split,
    run_recorded,
    run_simulated,
)
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, PermanentError
from tests.unit.evaluate.recorded import write_case

TWO = ((Side.RANKER, "statistical"), (Side.BASELINE, "nsigma"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sets: one of two cases, of which one is told wrongly, and one with a truthless case."""
    write_case(tmp_path / "sets" / "toy" / "case-001")
    wrong: dict[str, object] = {"root_cause": {"entity": "web"}, "fault": "cpu"}
    write_case(tmp_path / "sets" / "toy" / "case-002", about=wrong)
    write_case(tmp_path / "sets" / "other" / "case-001")
    write_case(tmp_path / "sets" / "other" / "case-002", about={"root_cause": None})
    return tmp_path / "sets"


def bench(*words: str) -> Result:
    return CliRunner().invoke(app, ["bench", "rca", *words])


def timeless(card: RcaCard) -> RcaCard:
    """Without what differs from run to run."""
    return replace(
        card,
        contenders=tuple(
            replace(
                one,
                sets=tuple(
                    replace(
                        found,
                        median_seconds=0.0,
                        rows=tuple(replace(row, seconds=0.0) for row in found.rows),
                    )
                    for found in one.sets
                ),
            )
            for one in card.contenders
        ),
    )


def test_every_case_that_names_its_cause_is_ranked_by_everybody(folder: Path) -> None:
    seen: list[RcaProgress] = []
    card = run_recorded([folder], RcaOptions(contenders=TWO), seen.append, ManualClock())
    assert card.complete
    assert card.sets == ("other", "toy")
    assert card.cases == 3
    assert seen[-1] == RcaProgress(done=4, planned=4)
    for one in card.contenders:
        toy = one.of("toy")
        assert toy is not None
        assert toy.figures.cases == 2
        assert set(toy.faults) == {"latency-of-the-database", "cpu"}
    statistical = card.contenders[0].of("toy")
    assert statistical is not None
    assert statistical.rows[0].place == 1
    assert statistical.figures.ac1.value == 0.5
    assert card.contenders[0].gaps["toy"].over == "nsigma"


def test_several_processes_find_the_same(folder: Path) -> None:
    alone = run_recorded([folder], RcaOptions(contenders=TWO))
    together = run_recorded([folder], RcaOptions(contenders=TWO, jobs=2))
    assert timeless(alone) == timeless(together)


def test_a_folder_named_twice_counts_once(folder: Path) -> None:
    card = run_recorded([folder, folder / "toy"], RcaOptions(contenders=TWO))
    assert card.cases == 3


def test_sets_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    write_case(tmp_path / "more" / "toy" / "case-001")
    card = run_recorded([folder, tmp_path / "more"], RcaOptions(contenders=TWO))
    assert card.sets == ("other", "sets/toy", "more/toy")


def test_wrong_names_and_truthless_cases_are_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no baseline 'magic'"):
        run_recorded([folder], RcaOptions(contenders=((Side.BASELINE, "magic"),)))
    with pytest.raises(PermanentError, match="No case names its root cause"):
        run_recorded([folder / "other" / "case-002"], RcaOptions(contenders=TWO))


def test_an_interrupt_keeps_what_is_done(folder: Path) -> None:
    def interrupt(state: RcaProgress) -> None:
        if state.done >= 2:
            raise KeyboardInterrupt

    card = run_recorded([folder], RcaOptions(contenders=TWO), interrupt)
    assert not card.complete
    assert card.sets == ("other",)
    assert card.cases == 1


def test_work_comes_back_in_order_and_no_more_than_is_wanted() -> None:
    taken: list[int] = []

    def pieces() -> list[int]:
        taken.append(1)
        return [3, -2, 1]

    assert list(in_order(abs, pieces(), 2)) == [3, 2, 1]
    endless = iter(int, 1)
    found = in_order(abs, endless, 2)
    assert [next(found) for _ in range(3)] == [0, 0, 0]
    found.close()
    with pytest.raises(TypeError):
        list(in_order(abs, ["no number"], 2))  # type: ignore[arg-type]


def test_simulated_cases_are_ranked_as_they_are_and_with_something_amiss() -> None:
    options = RcaOptions(contenders=TWO)
    card = run_simulated(3, Split.DEV, options)
    assert card.cases == 3
    assert card.sets == (PLAIN, *VARIANTS)
    ours, theirs = card.contenders
    assert [one.name for one in ours.sets] == [PLAIN, *VARIANTS]
    assert [one.name for one in theirs.sets] == [PLAIN]
    assert all(len(one.rows) == 3 for one in ours.sets)
    assert {row.case for row in ours.sets[0].rows} == {f"0/{at}" for at in range(3)}
    assert ours.mean is None
    assert timeless(run_simulated(3, Split.DEV, replace(options, jobs=2))) == timeless(card)


def test_the_splits_have_no_seed_in_common() -> None:
    assert Split.DEV.first_seed == 0
    assert Split.HELD_OUT.first_seed == 10_000


def test_the_command_prints_and_writes(folder: Path, tmp_path: Path) -> None:
    written, told = tmp_path / "card.json", tmp_path / "card.md"
    result = bench(
        "--cases",
        str(folder),
        "--baseline",
        "baro",
        "--jobs",
        "1",
        "--late",
        "60",
        "--json",
        str(written),
        "--markdown",
        str(told),
        "--details",
    )
    assert result.exit_code == 0, result.output
    assert "3 cases of other, toy, start reported 60 s late" in result.output
    card = RCA_CARD.validate_json(written.read_bytes())
    assert [one.name for one in card.contenders][1:] == ["baro"]
    assert "## Place of the cause, toy" in told.read_text()


def test_everybody_is_measured_without_a_name_and_json_goes_to_standard_output(
    folder: Path,
) -> None:
    result = bench("--cases", str(folder / "toy"), "--jobs", "1", "--json", "-")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [one["name"] for one in found["contenders"]][1:] == list(BASELINES)
    alone = bench("--cases", str(folder / "toy"), "--baseline", "none", "--json", "-")
    assert len(json.loads(alone.output)["contenders"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "--simulated N"),
        (("--cases", "x", "--simulated", "3"), 2, "exclude"),
        (("--simulated", "3", "--late", "5"), 2, "recorded cases"),
        (("--simulated", "3", "--no-traces"), 2, "recorded cases"),
        (("--cases", "x", "--json", "/no/such/place/a.json"), 2, "no directory"),
        (("--cases", "/no/such/place"), 1, "no such directory"),
        (("--simulated", "3", "--ranker", "magic"), 1, "no type 'magic'"),
        (("--list",), 0, "ranked_correlation"),
    ],
)
def test_wrong_usage_is_told(words: tuple[str, ...], code: int, says: str) -> None:
    result = bench(*words)
    assert result.exit_code == code, result.output
    assert says in result.output
