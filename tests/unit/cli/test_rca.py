"""`dos rca`: a recorded case, and a stored incident, ranked by the real command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from dos.app import wiring
from dos.app.recall import on_grid, recall
from dos.app.settings import Settings
from dos.cli.main import app
from dos.kit.errors import PermanentError
from dos.model.ids import IncidentId, SeriesId
from dos.model.incident import Incident
from dos.model.telemetry import MetricBatch
from dos.testing.rankers import START, story
from tests.conftest import ROOT, answers, running, unused_port
from tests.unit.app.played import RECEIVERS, incidents_of, intakes, settings


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.yaml and no DOS_ variables of the developer's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DOS_")]:
        monkeypatch.delenv(name)


def dos_(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["rca", *map(str, words)])


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The shop's payment burns CPU, as a recorded case with its truth."""
    made = story(("payment", "cpu", 4.0, 0), ("orders", "latency_p95", 6.0, 2))
    folder = tmp_path / "case-001"
    folder.mkdir()
    header = ["time", *(f"{spec.entity}|{spec.metric}" for spec in made.series)]
    rows = np.column_stack([made.times / 1000, made.values])
    lines = [",".join(header), *(",".join(f"{cell:.6g}" if i else f"{cell:.0f}"
             for i, cell in enumerate(row)) for row in rows)]  # fmt: skip
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    about = {
        "inject_time": START / 1000,
        "fault": "cpu hog",
        "root_cause": {"entity": "payment", "metric": "cpu"},
    }
    (folder / "case.json").write_text(json.dumps(about))
    (folder / "edges.csv").write_text("caller,callee\nfrontend,orders\norders,payment\n")
    return folder


class TestRank:
    def test_shows_ranking_evidence_and_truth(self, case: Path) -> None:
        shown = dos_("rank", case)
        assert shown.exit_code == 0, shown.output
        assert " 1. " in shown.stdout
        assert "payment  cpu" in shown.stdout
        assert "(true cause)" in shown.stdout
        assert "cpu rose " in shown.stdout
        assert "true cause at place 1: payment (cpu hog, cpu)" in shown.stdout
        assert "What would change it" in shown.stdout

    def test_writes_json(self, case: Path, tmp_path: Path) -> None:
        shown = dos_("rank", case, "--ranker", "onset", "--json", "-")
        said = json.loads(shown.stdout)
        assert said["ranker"] == "onset"
        assert said["truth"]["place"] == 1
        assert said["root_cause"]["ranked"][0]["entity"] == "payment"
        assert said["scores"][0]["entity"] == "payment"
        assert dos_("rank", case, "--json", tmp_path / "out.json").exit_code == 0
        assert json.loads((tmp_path / "out.json").read_text())["truth"]["entity"] == "payment"

    def test_a_late_start_is_later(self, case: Path) -> None:
        plain = json.loads(dos_("rank", case, "--json", "-").stdout)
        late = json.loads(dos_("rank", case, "--late", "60s", "--json", "-").stdout)
        assert late["start"] - plain["start"] == 60_000
        assert late["truth"]["place"] == 1

    def test_takes_keys_of_the_ranker(self, case: Path) -> None:
        words = ("rank", case, "--ranker", "deviation", "--set", "method=extreme_value")
        assert "healthy samples are as far off" in dos_(*words).stdout
        few = json.loads(dos_("rank", case, "--set", "hypotheses=2", "--json", "-").stdout)
        assert len(few["root_cause"]["ranked"]) <= 2

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--ranker", "guess"], 1, "there is no type 'guess'"),
            (["--set", "method"], 2, "is not KEY=VALUE"),
            (["--set", "hypotheses=many"], 2, "hypotheses"),
            (["--ranker", "traces", "--set", "colour=red"], 2, "colour"),
            (["--late", "soon"], 2, "soon"),
        ],
    )
    def test_says_what_is_wrong(self, case: Path, words: list[str], code: int, said: str) -> None:
        shown = dos_("rank", case, *words)
        assert shown.exit_code == code
        assert said in " ".join(shown.output.replace("│", " ").split())

    def test_a_directory_without_a_case_is_refused(self, tmp_path: Path) -> None:
        shown = dos_("rank", tmp_path)
        assert shown.exit_code == 1
        assert "not a recorded case" in shown.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Incident]:
    """A data directory in which a played run is kept, and one of its incidents."""
    directory = tmp_path_factory.mktemp("data")
    url = f"sqlite+aiosqlite:///{directory}/dos.db"
    chosen = settings(storage={"url": url}, data_dir=str(directory), sources=[])
    history = wiring.open_history(chosen, directory)
    pipeline = wiring.build_pipeline(chosen, history, RECEIVERS)

    async def play() -> list[Any]:
        store = wiring.open_store(chosen)
        await store.open()
        decided = []
        for entry in intakes():
            history.add_series(entry.intake.series)
            decided.append(pipeline.step(entry.intake, entry.offset))
            await store.commit(decided[-1])
        await store.close()
        return decided

    decided = asyncio.run(play())
    history.close()
    (first, *_) = [one for one in incidents_of(decided) if "payment-service" in one.entities]
    return chosen, first


@pytest.fixture
def config(kept: tuple[Settings, Incident], tmp_path: Path) -> Path:
    chosen, _ = kept
    path = tmp_path / "config.yaml"
    keys = {
        "data_dir": str(chosen.data_dir),
        "storage": {"url": chosen.storage_url},
        "history": {"resolution": chosen.history.resolution},
    }
    path.write_text(yaml.safe_dump(keys))
    return path


class TestExplain:
    def test_ranks_again_and_says_what_would_change_it(
        self, kept: tuple[Settings, Incident], config: Path
    ) -> None:
        incident = kept[1]
        shown = dos_("explain", incident.id, "--config", config)
        assert shown.exit_code == 0, shown.output
        assert shown.stdout.startswith(f"{incident.id}  {incident.title}")
        assert "as told at the time: payment-service with " in shown.stdout
        assert "What would change it" in shown.stdout
        assert "What it rests on" in shown.stdout

    def test_json_has_what_was_told_and_what_is_said_now(
        self, kept: tuple[Settings, Incident], config: Path
    ) -> None:
        incident = kept[1]
        shown = dos_("explain", incident.id, "--config", config, "--json", "-")
        said = json.loads(shown.stdout)
        assert incident.root_cause is not None
        assert said["same"] is True
        assert said["at"] == incident.root_cause.at
        told, now = said["told"]["ranked"][0], said["root_cause"]["ranked"][0]
        assert told["entity"] == now["entity"] == "payment-service"
        # Between two tellings it is looked at again, and only what is significant is told.
        assert now["probability"] == pytest.approx(told["probability"], abs=0.1)
        assert {one["lack"] for one in said["missing"]} >= {"changes"}

    def test_another_ranker_and_an_earlier_time(
        self, kept: tuple[Settings, Incident], config: Path
    ) -> None:
        incident = kept[1]
        words = ("explain", incident.id, "--config", config, "--ranker", "onset", "--json", "-")
        assert json.loads(dos_(*words).stdout)["root_cause"]["method"] == "onset"
        early = "2026-01-05T14:30:45Z"
        said = json.loads(dos_(*words, "--until", early).stdout)
        assert said["at"] < incident.updated_at

    def test_an_unknown_incident_and_an_empty_place_are_said_in_a_line(
        self, config: Path, tmp_path: Path
    ) -> None:
        shown = dos_("explain", "inc-none", "--config", config)
        assert (shown.exit_code, "There is no incident 'inc-none'" in shown.stderr) == (1, True)
        empty = tmp_path / "empty.yaml"
        empty.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "nothing")}))
        shown = dos_("explain", "inc-none", "--config", empty)
        assert (shown.exit_code, "There is no history in" in shown.stderr) == (1, True)
        shown = dos_("explain", "inc-none", "--config", config, "--until", "yesterday")
        assert shown.exit_code == 2

    def test_a_time_of_which_no_samples_are_kept_is_refused(
        self, kept: tuple[Settings, Incident]
    ) -> None:
        chosen, incident = kept
        early = incident.began_at - 40 * 86_400_000
        with pytest.raises(PermanentError, match="No samples are kept"):
            asyncio.run(recall(chosen, IncidentId(incident.id), early))  # type: ignore[arg-type]


def test_the_running_dos_is_asked_over_its_api(tmp_path: Path) -> None:
    """The API of the fake shop on a real socket: cart-db is slow, cart and frontend suffer."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "uvicorn", "--factory", "tests.api.served:make_app",
        "--port", str(port), "--app-dir", str(ROOT),
    ]  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"history": {"resolution": 15}}))
    with running(command, tmp_path / "log", partial(answers, f"{url}/api/v1/incidents")):
        listed = dos_("explain", "inc-none", "--server", url, "--config", config)
        assert listed.exit_code == 1
        assert "There is no incident 'inc-none'" in listed.stderr
        shown = dos_("explain", "inc-1", "--server", url, "--config", config, "--json", "-")
        assert shown.exit_code == 0, shown.output
        said = json.loads(shown.stdout)
    assert said["incident"] == "inc-1"
    assert said["entities"] == 3
    assert said["series"] == 9
    assert said["told"]["ranked"]
    total = sum(one["probability"] for one in said["root_cause"]["ranked"])
    assert total + said["root_cause"]["unknown"] == pytest.approx(1.0)


def test_samples_lie_on_the_grid_of_the_recent_ones() -> None:
    batch = MetricBatch(
        series_id=np.array([7, 3, 3, 3], np.int32),
        timestamp=np.array([10_000, 10_000, 12_000, 21_000], np.int64),
        value=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    window = on_grid(batch, [SeriesId(3), SeriesId(7), SeriesId(9)], first=1, slot=10_000)
    assert window.times.tolist() == [10_000, 20_000]
    assert window.values[:, 0].tolist() == [3.0, 4.0]  # of two in a slot the last one
    assert window.values[0, 1] == 1.0
    assert np.isnan(window.values[:, 2]).all()
    nothing = on_grid(MetricBatch.empty(), [SeriesId(3)], first=1, slot=10_000)
    assert nothing.values.shape == (0, 1)
