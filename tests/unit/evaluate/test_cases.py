from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dos.evaluate.cases import Truth, discover, load_case
from dos.evaluate.score import bootstrap, place_of, rank_case, score_sets
from dos.kit.clock import DAY, SECOND, ManualClock
from dos.kit.errors import CorruptDataError, PermanentError
from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.rca.base import ROOM, Ranker
from tests.unit.evaluate.recorded import BEGAN, INJECT, write_case, write_metrics


def ranker(name: str = "statistical") -> Ranker:
    plugin = load(ROOM, name)
    built: Ranker = plugin.build(plugin.config())
    return built


def test_a_case_holds_samples_graph_and_start(tmp_path: Path) -> None:
    loaded = load_case(write_case(tmp_path / "toy" / "case-001"))
    case = loaded.case
    assert case.values.shape == (90, 4)
    assert case.start == INJECT * SECOND
    assert case.graph is not None
    assert case.graph.callees(EntityId("api")) == ["db"]
    assert np.isnan(case.values[5, 1])
    assert loaded.truth == Truth(
        entity=EntityId("db"), service="db", metric="latency", fault="latency-of-the-database"
    )


def test_the_truth_does_not_leak_into_the_case(tmp_path: Path) -> None:
    folder = tmp_path / "toy" / "case-001"
    known = load_case(write_case(folder)).case
    blind = {"fault": None, "root_cause": None, "dataset": None, "case": None}
    unknown = load_case(write_case(tmp_path / "other" / "case-9", about=blind)).case
    for field in dataclasses.fields(known):
        ours, theirs = getattr(known, field.name), getattr(unknown, field.name)
        np.testing.assert_array_equal(ours, theirs) if isinstance(ours, np.ndarray) else None
        assert isinstance(ours, np.ndarray) or ours == theirs
    assert "latency-of-the-database" not in repr(known)


def test_nothing_after_the_end_is_seen(tmp_path: Path) -> None:
    about: dict[str, object] = {"end_time": BEGAN + 700}
    case = load_case(write_case(tmp_path / "toy" / "case-001", about=about)).case
    assert case.times[-1] == (BEGAN + 700) * SECOND == case.end


def test_a_late_start_moves_only_the_start(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "toy" / "case-001")
    late, punctual = load_case(folder, late_s=60).case, load_case(folder).case
    assert late.start == punctual.start + 60 * SECOND
    np.testing.assert_array_equal(late.values, punctual.values)


def test_windows_of_other_faults_are_left_out(tmp_path: Path) -> None:
    about: dict[str, object] = {"exclude": [[BEGAN + 100, BEGAN + 195]]}
    case = load_case(write_case(tmp_path / "toy" / "case-001", about=about)).case
    assert len(case.times) == 80


def test_counters_become_rates(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "toy" / "case-001")).case
    np.testing.assert_allclose(case.values[1:, 3], 10.0)
    assert np.isnan(case.values[0, 3])


def test_a_normal_file_becomes_history_at_the_same_time_of_day(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "toy" / "case-001", about={"normal": "../normal.csv"})
    later = BEGAN + 40 * 86_400
    rows = [f"{later + i * 10},{0.1 + i / 1000}" for i in range(30)]
    (folder.parent / "normal.csv").write_text("\n".join(["time,db|latency", *rows]) + "\n")
    case = load_case(folder).case
    assert len(case.times) == 120
    assert (later * SECOND - case.times[0]) % DAY == 0
    assert case.times[29] < BEGAN * SECOND
    assert np.isnan(case.values[:30, 0]).all()


def test_a_normal_file_outside_the_set_is_refused(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "toy" / "case-001", about={"normal": "../../secret.csv"})
    (tmp_path / "secret.csv").write_text("time,a|b\n1,1\n")
    with pytest.raises(PermanentError, match="not a file of the set"):
        load_case(folder)


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    folder = tmp_path / "case-001"
    folder.mkdir()
    pq.write_table(
        pa.table({"time": [1, 2, 3], "a|cpu": [1.0, None, 3.0]}), folder / "metrics.parquet"
    )
    case = load_case(folder).case
    np.testing.assert_array_equal(case.values[:, 0], [1, np.nan, 3])
    assert case.graph is None


def test_a_bad_case_file_says_which_key(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "case-001", "time,a|b\n1,1\n")
    (folder / "case.json").write_text(json.dumps({"inject_time": "noon"}))
    with pytest.raises(CorruptDataError, match=r"case\.json: inject_time: "):
        load_case(folder)


def test_cases_are_found_in_a_set_in_sets_and_alone(tmp_path: Path) -> None:
    one = write_case(tmp_path / "toy" / "case-001")
    two = write_case(tmp_path / "toy" / "case-002")
    assert discover(tmp_path) == discover(tmp_path / "toy") == [one, two]
    assert discover(one) == [one]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PermanentError, match="no metrics file"):
        discover(tmp_path / "empty")
    with pytest.raises(PermanentError, match="no such directory"):
        discover(tmp_path / "missing")


def test_ranking_a_case_places_the_truth(tmp_path: Path) -> None:
    ranked = rank_case(write_case(tmp_path / "toy" / "case-001"), ranker())
    assert ranked.place == 1
    assert ranked.order[0][0] == ranked.cause.ranked[0].entity == "db"
    assert ranked.level == "entity"
    assert ranked.seconds > 0


def test_ties_count_at_their_worst_place() -> None:
    truth = Truth(entity=EntityId("b"), service="b", metric=None, fault=None)
    order = [(EntityId("a"), 2.0), (EntityId("b"), 1.0), (EntityId("c"), 1.0), (EntityId("d"), 0.0)]
    assert place_of(truth, order) == 3
    nowhere = Truth(entity=EntityId("x"), service="x", metric=None, fault=None)
    assert place_of(nowhere, order) is None


def test_a_true_service_is_looked_for_among_its_pods() -> None:
    truth = Truth(entity=EntityId("cart"), service="cart", metric=None, fault=None)
    order = [
        (EntityId("web-579b9bff58-t2dbm"), 3.0),
        (EntityId("web-579b9bff58-z4xkq"), 2.5),
        (EntityId("cart-579f59597d-wc2lz"), 2.0),
    ]
    assert place_of(truth, order) == 2


def test_scores_come_per_set_and_delay_with_intervals(tmp_path: Path) -> None:
    write_case(tmp_path / "toy" / "case-001")
    wrong: dict[str, object] = {"root_cause": {"entity": "web"}}
    write_case(tmp_path / "toy" / "case-002", about=wrong)
    write_case(tmp_path / "toy" / "case-003", about={"root_cause": None})
    seen: list[str] = []
    report = score_sets(
        [tmp_path], ranker(), clock=ManualClock(), progress=lambda one: seen.append(one.path.name)
    )
    assert [(one.name, one.late_s, one.cases) for one in report.sets] == [
        ("toy", 0.0, 2),
        ("toy", 60.0, 2),
    ]
    assert report.sets[0].ac1.mean == 0.5
    assert report.sets[0].ac1.low <= 0.5 <= report.sets[0].ac1.high
    assert seen == ["case-001"] * 2 + ["case-002"] * 2 + ["case-003"] * 2
    assert "| toy | 60 s | 2 | 0.50 (0.00–1.00) |" in report.markdown()
    assert report.table().row_count == 2


def test_the_bootstrap_is_seeded_and_covers_the_mean() -> None:
    values = np.array([1.0] * 30 + [0.0] * 20)
    first, second = bootstrap(values, 1), bootstrap(values, 1)
    assert first == second
    assert first.low < 0.6 == first.mean < first.high
    # Normal approximation: 0.6 ± 1.96·√(0.6·0.4/50)
    assert first.high - first.low == pytest.approx(2 * 1.96 * (0.24 / 50) ** 0.5, rel=0.1)
