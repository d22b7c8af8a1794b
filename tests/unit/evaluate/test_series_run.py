"""`dos bench detect`: processes, card, tables, files, command line."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dos.evaluate.series.run
from dos.cli.main import app
from dos.evaluate.series import candidates
from dos.evaluate.series.card import ALL, DETECT_CARD, DetectCard
from dos.evaluate.series.files import LabelledSeries, discover, published, read_all
from dos.evaluate.series.run import DetectOptions, DetectProgress, run_detect, write_scores
from dos.evaluate.series.scorer import Given, OneByOne, Scored
from dos.evaluate.series.scorers.sigma import EwmaSigma
from dos.evaluate.series.tables import reliability_table, summary, tables
from dos.evaluate.series.vus import areas, main_period
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, PermanentError
from dos.model.telemetry import Float64Array

SPIKE = 900


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three series of two groups, one without an anomaly, and published figures of one."""
    place = tmp_path / "set"
    place.mkdir()
    for number, name in enumerate(
        (
            "001_WSD_id_1_WebService_tr_400_1st_900.csv",
            "002_WSD_id_2_WebService_tr_400_1st_900.csv",
            "003_NAB_id_1_Facility_tr_300_1st_0.csv",
        )
    ):
        rng = np.random.default_rng(number)
        values = 50 + 10 * np.sin(np.arange(1_200) / 10) + rng.standard_normal(1_200)
        marked = np.zeros(1_200, np.int64)
        if "WSD" in name:
            values[SPIKE : SPIKE + 6] += 200
            marked[SPIKE : SPIKE + 6] = 1
        cells = [str(value) for value in values.round(3)]
        cells[450] = ""
        rows = [f"{cell},{mark}" for cell, mark in zip(cells, marked, strict=True)]
        (place / f"{name}.gz").write_bytes(gzip.compress("\n".join(["Data,Label", *rows]).encode()))
    (place / "published_vus_pr.csv").write_text(
        "file,POLY,SR\n001_WSD_id_1_WebService_tr_400_1st_900.csv,0.75,0.25\n"
    )
    return place


def measure(folder: Path, *names: str, **options: object) -> DetectCard:
    """All of it, with two processes."""
    paths = discover([folder])
    chosen = DetectOptions(detectors=names, jobs=2, **options)  # type: ignore[arg-type]
    return run_detect(read_all(paths), chosen, "a set", published(paths), clock=ManualClock())


def test_figures_of_every_detector_group_and_series(folder: Path) -> None:
    card = measure(folder, "3-sigma", "chance", check_causal=True)
    assert card.complete
    assert card.groups == ("NAB", "WSD")
    assert card.steps == {"NAB": (300.0,), "WSD": (60.0,)}
    assert card.days == pytest.approx((2 * 800 * 60 + 900 * 300 - 60 * 2 - 300) / 86_400)
    sigma, chance = card.detectors
    assert (sigma.name, chance.name) == ("3-sigma", "chance")
    figures = sigma.of(ALL)
    # The quiet series has no areas, but its false alarms count.
    assert (figures.series, figures.anomalies, figures.vus_pr.count) == (3, 2, 2.0)
    assert figures.recall.value == 1.0
    assert sigma.of("NAB").vus_pr.value is None
    assert sigma.of("NAB").false_per_day.value is not None
    assert figures.vus_pr.value is not None
    assert chance.of(ALL).vus_pr.value is not None
    assert figures.vus_pr.value > 0.3 > chance.of(ALL).vus_pr.value
    assert sigma.group_mean == pytest.approx(sigma.of("WSD").vus_pr.value)
    assert sigma.at_recall is not None
    assert sigma.at_recall.false_per_day < 0.5
    assert sigma.leaks == ()
    assert [row.method for row in card.published] == ["POLY", "SR"]
    assert card.published[0].groups == {"WSD": 0.75}
    assert DETECT_CARD.validate_json(card.to_json()).detectors == card.detectors


def test_how_series_are_spread_over_processes_changes_nothing(folder: Path) -> None:
    paths = discover([folder])
    cards = [
        run_detect(read_all(paths), DetectOptions(detectors=("netdata",), jobs=jobs), "a set")
        for jobs in (1, 3)
    ]
    assert cards[0].detectors[0].series == cards[1].detectors[0].series
    assert cards[0].detectors[0].figures == cards[1].detectors[0].figures


def test_a_scorer_without_a_name_is_measured_in_this_process(folder: Path) -> None:
    named = measure(folder, "ewma").detectors[0]
    tried = dos.evaluate.series.run.measure(
        "tried", OneByOne(EwmaSigma), read_all(discover([folder]))
    )
    assert (tried.name, tried.series, tried.figures) == ("tried", named.series, named.figures)
    assert tried.at_recall == named.at_recall


class Honest:
    """Calls healthy points as rare as they are, and those of the anomaly rarer than anything."""

    def score_all(self, fleet: Sequence[Given]) -> list[Scored]:
        rng = np.random.default_rng(5)
        said: list[Scored] = []
        for one in fleet:
            rarity = rng.uniform(size=len(one.values))
            rarity[SPIKE - 2 : SPIKE + 8] = 0.0
            none = np.zeros(len(rarity))
            said.append(Scored(score=none, alarm=none > 0, rarity=rarity))
        return said


def test_claims_about_rarity_are_checked_on_healthy_points(folder: Path) -> None:
    series = [one for one in read_all(discover([folder])) if one.group == "WSD"]
    card = dos.evaluate.series.run.measure("honest", Honest(), series)
    assert [row.group for row in card.reliability] == [ALL] * 3 + ["WSD"] * 3
    for row in card.reliability:
        # Each of the two has 799 points behind its prefix, 26 of them in or near the anomaly.
        assert row.claim.samples == 2 * (799 - 26)
        assert row.claim.lower <= row.claim.claimed <= row.claim.upper
    table = reliability_table(card)
    assert table.header[2:] == ("0.01", "0.001", "0.0001")
    assert [row[0] for row in table.rows] == [ALL, "WSD"]
    silent = measure(folder, "3-sigma").detectors[0]
    assert silent.reliability == ()
    assert reliability_table(silent).rows == ()


def test_scores_are_written_for_every_row_of_the_file(folder: Path, tmp_path: Path) -> None:
    card = measure(folder, "3-sigma", "dos:seasonal_ewma", scores=tmp_path / "scores")
    files = sorted(path.relative_to(tmp_path) for path in (tmp_path / "scores").rglob("*.csv.gz"))
    assert len(files) == 6
    assert files[-1].parent == Path("scores/dos-seasonal_ewma")
    paths = discover([folder])
    series = read_all(paths)[0]
    with gzip.open(tmp_path / "scores" / "3-sigma" / f"{series.name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == series.rows == 1_200
    assert rows[450] == {"Score": "", "Alarm": ""}
    score = np.array([float(row["Score"]) for row in rows if row["Score"]])
    assert {row["Alarm"] for row in rows} == {"", "0", "1"}
    # What was written is what was judged.
    found = areas(series.labels, score, main_period(series.values))
    assert found.vus_pr == card.detectors[0].series[0].vus_pr


def test_equal_scores_are_equal_bytes(folder: Path, tmp_path: Path) -> None:
    series = read_all(discover([folder]))[0]
    scored = Scored(score=np.arange(len(series)) / 3, alarm=np.zeros(len(series), np.bool_))
    one, two = (write_scores(tmp_path / name, "x", series, scored) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="cannot be written"):
        write_scores(tmp_path / "file", "x", series, scored)


def test_a_wrong_name_is_told_before_anything_is_done(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no detector 'nonsense'"):
        measure(folder, "3-sigma", "nonsense")


class Broken:
    """Gives a score that is no number."""

    def __init__(self, step_s: float) -> None:
        del step_s

    def fit(self, prefix: Float64Array) -> None:
        """Nothing."""

    def score(self, values: Float64Array) -> Scored:
        return Scored(score=np.full(len(values), np.nan), alarm=np.zeros(len(values), np.bool_))


def test_a_score_that_is_no_number_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dos.evaluate.series.run, "build", lambda _: OneByOne(Broken))
    series = read_all(discover([folder]))
    piece = dos.evaluate.series.run._Piece(  # in this process, where the stand-in is
        detector="broken",
        places=(0,),
        series=(series[0],),
        options=DetectOptions(detectors=("broken",), jobs=1),
    )
    with pytest.raises(PermanentError, match=r"broken: a score of 001_WSD.* is not finite"):
        dos.evaluate.series.run._work(piece)


def test_progress_is_told(folder: Path) -> None:
    told: list[DetectProgress] = []
    paths = discover([folder])
    run_detect(
        read_all(paths),
        DetectOptions(detectors=("ewma", "3-sigma"), jobs=1),
        "a set",
        progress=told.append,
    )
    assert told
    assert {one.detector for one in told} <= {"ewma", "3-sigma"}
    shares = [one.share for one in told]
    assert shares == sorted(shares)
    assert shares[-1] < 1.0


def test_an_interrupt_keeps_what_is_done_and_gives_up_the_rest(folder: Path) -> None:
    def interrupt(state: DetectProgress) -> None:
        if state.detector == "dos":  # pieces are done in order: the other one is ready
            raise KeyboardInterrupt

    paths = discover([folder])
    card = run_detect(
        read_all(paths),
        DetectOptions(detectors=("3-sigma", "dos"), jobs=1),
        "a set",
        progress=interrupt,
    )
    assert not card.complete
    assert "partial" in summary(card)
    assert card.detectors[0].name == "3-sigma"
    assert len(card.detectors[0].series) == 3


def test_an_interrupt_before_anything_is_done_is_passed_on(folder: Path) -> None:
    def interrupt(_: DetectProgress) -> None:
        raise KeyboardInterrupt

    options = DetectOptions(detectors=("dos",), jobs=1)
    with pytest.raises(KeyboardInterrupt):
        run_detect(read_all(discover([folder])), options, "a set", progress=interrupt)


def text_of(card: DetectCard) -> str:
    return "\n".join(
        " ".join([table.title, *table.header, *(cell for row in table.rows for cell in row)])
        for table in tables(card, details=True)
    )


def test_tables_say_it_in_words(folder: Path) -> None:
    card = measure(folder, "3-sigma")
    said = text_of(card)
    for part in ("VUS-PR", "own thresholds", "At equal recall (0.6)", "POLY", "Alarms of 3-sigma"):
        assert part in said
    assert "Injected" not in said
    assert "NAB 300" in summary(card)
    assert all(len(row) == len(table.header) for table in tables(card) for row in table.rows)


def bench(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bench", "detect", *words])
    return result.exit_code, result.output


def test_the_command_prints_tables_and_writes_json(folder: Path, tmp_path: Path) -> None:
    code, said = bench(
        "--series", str(folder), "--detector", "3-sigma", "--jobs", "1",
        "--json", str(tmp_path / "card.json"), "--check-causal",
    )  # fmt: skip
    assert code == 0
    assert "3 series of set" in said
    assert "VUS-PR" in said
    written = json.loads((tmp_path / "card.json").read_bytes())
    assert written["detectors"][0]["name"] == "3-sigma"
    assert written["checked"] is True


def test_a_detector_that_looks_ahead_ends_with_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = measure(folder, "chance")

    def leaky(*_: object) -> DetectCard:
        from dataclasses import replace

        from dos.evaluate.series.scorer import Leak

        one = replace(card.detectors[0], leaks=(Leak(series="x", cut=500, point=499),))
        return replace(card, checked=True, detectors=(one,))

    monkeypatch.setattr(dos.evaluate.series.run, "run_detect", leaky)
    code, said = bench("--series", str(folder), "--check-causal")
    assert code == 1
    assert "no (1)" in said


def test_the_command_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    code, said = bench()
    assert code == 2
    assert "--series" in said
    code, said = bench("--series", str(folder), "--json", str(tmp_path / "no" / "x.json"))
    assert code == 2
    code, said = bench("--series", str(tmp_path / "missing"))
    assert code == 1
    assert "no such directory" in said


def test_the_list_names_everything() -> None:
    code, said = bench("--list")
    assert code == 0
    assert all(name in said for name in candidates.known())


def test_the_development_set_goes_the_same_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, int]] = []

    def stand_in(options: object, prefixes: list[LabelledSeries], _: object) -> object:
        asked.append((options, len(prefixes)))
        return prefixes

    monkeypatch.setattr("dos.evaluate.series.develop.development_set", stand_in)
    code, said = bench(
        "--develop", "--half", "validate", "--seed", "3", "--series", str(folder),
        "--detector", "3-sigma", "--jobs", "1",
    )  # fmt: skip
    assert code == 0
    assert "the development set" in said
    assert "POLY" not in said
    (options, prefixes) = asked[0]
    assert "validate" in repr(options)
    assert "seed=3" in repr(options)
    assert prefixes == 3
