"""`dos simulate …`: what its commands print, and the thin door beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dos.cli.main import app
from dos.simulate.kinds import KINDS
from dos.simulate.postmortem import POSTMORTEM
from dos.simulate.scenario_file import BUILT_IN, built_in, read
from dos.simulate.world_file import parse
from dos.simulate.worlds import shop, world

CALM = re.compile(r"\[\d\d:\d\d:\d\d\] All services operating normally")
START = "2026-11-23T14:30:00Z"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tables on one line each, nothing of the developer's around."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)


def simulate(*words: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *words])


class TestRun:
    def test_lines_of_one_cycle_each(self) -> None:
        result = simulate("run", "--duration", "20s", "--speed", "0", "--incidents", "none",
                          "--start", START)  # fmt: skip
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert len(lines) == 20
        assert lines[0] == "[14:30:01] All services operating normally"
        assert all(CALM.fullmatch(line) for line in lines)

    def test_the_same_seed_tells_the_same(self) -> None:
        words = ("run", "--duration", "2m", "--speed", "0", "--start", START, "--chance", "1")
        first, again, other = (simulate(*words, "--seed", seed).stdout for seed in ("1", "1", "2"))
        assert "🚨 INCIDENT" in first
        assert first == again
        assert first != other

    def test_only_some_kinds_come_up(self) -> None:
        result = simulate("run", "--duration", "30m", "--step", "5s", "--speed", "0", "--seed", "1",
                          "--only", "error-rate", "--only", "packet_loss")  # fmt: skip
        begun = re.findall(r"🚨 INCIDENT: ([\w ]+) detected", result.stdout)
        assert set(begun) == {"Error rate increase", "Packet loss"}

    def test_quiet_and_at_once(self) -> None:
        words = ("run", "--duration", "40m", "--step", "5s", "--speed", "0", "--chance", "1",
                 "--only", "error_rate")  # fmt: skip
        busy = simulate(*words, "--at-once", "3").stdout.count("🚨")
        calm = simulate(*words, "--quiet", "20m").stdout.count("🚨")
        assert busy > 2 * calm > 0

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--only", "flood"), "'flood' is no kind of incident"),
            (("--only", "cpu_spice"), "did you mean cpu_spike?"),
            (("--start", "noon"), "write for example 2026-11-23T14:30:00Z"),
            (("--report", "a.txt"), "must end in .jsonl or .md"),
            (("--chance", "2"), "--chance"),
            (("--duration", "soon"), "write for example 15s"),
        ],
    )
    def test_wrong_options(self, words: tuple[str, ...], message: str) -> None:
        result = simulate("run", *words, "--speed", "0")
        assert result.exit_code == 2
        assert message in " ".join(result.output.replace("│", " ").split())

    def test_a_world_that_is_not_there(self) -> None:
        result = simulate("run", "--world", "moon", "--speed", "0")
        assert result.exit_code == 1
        assert "There is no world 'moon'" in result.stderr

    def test_a_world_of_ones_own(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(simulate("worlds", "--yaml", "sketch").stdout)
        result = simulate("run", "--world", "mine.yaml", "--duration", "3s", "--speed", "0",
                          "--incidents", "none")  # fmt: skip
        assert len(result.stdout.splitlines()) == 3

    def test_records_as_lines_of_json(self, tmp_path: Path) -> None:
        story = tmp_path / "story.yaml"
        story.write_text(
            "- {at: 5s, fault: error_rate, target: order-service, duration: 10s}\n"
            "- {at: 8s, fault: cpu_spike, target: user-service, duration: 10m}\n"
        )
        file = tmp_path / "records.jsonl"
        result = simulate("run", "--world", "sketch", "--duration", "60s", "--speed", "0",
                          "--scenario", str(story), "--report", str(file))  # fmt: skip
        assert result.exit_code == 0
        assert "🚨 INCIDENT: Error rate increase detected in order-service (Duration: 10s)" in (
            result.stdout
        )
        records = [POSTMORTEM.validate_json(line) for line in file.read_text().splitlines()]
        assert [(one.target, one.seconds) for one in records] == [
            ("order-service", 30.0),
            ("user-service", None),  # still running
        ]

    def test_records_in_words(self, tmp_path: Path) -> None:
        file = tmp_path / "records.md"
        simulate("run", "--scenario", "classics", "--duration", "4m", "--speed", "0",
                 "--start", START, "--report", str(file))  # fmt: skip
        text = file.read_text("utf-8")
        assert text.startswith("# Incidents\n\n## 2026-11-23 14:30:30 CPU spike of payment-service")
        assert text.count("\n## ") == 1

    def test_a_report_that_cannot_be_written(self, tmp_path: Path) -> None:
        result = simulate("run", "--report", str(tmp_path / "no" / "r.md"), "--duration", "1s")
        assert result.exit_code == 1
        assert "r.md cannot be written: No such file or directory." in result.stderr


class TestScenario:
    def test_those_that_come_with_dos_are_listed_and_can_be_played(self) -> None:
        result = simulate("scenario", "--list")
        assert result.exit_code == 0
        assert len(built_in()) >= 5
        for name in built_in():
            assert name in result.stdout
            story = read(name)
            assert story.content.title
            assert story.content.description
            assert story.misfits(world(story.content.world)) == []

    def test_the_folder_of_a_clone_shows_them_too(self, root: Path) -> None:
        shown = root / "simulations" / "scenarios"
        assert shown.resolve() == BUILT_IN.resolve()

    def test_a_timeline(self) -> None:
        result = simulate("scenario", "friday-deploy")
        assert result.exit_code == 0
        rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert "2m 22m Deploy regression catalog-service 0.9 api-gateway, frontend" in rows
        assert "7m → rollback catalog-service" in rows
        assert "In world shop: 2 faults, 2 actions, 12m." in rows

    def test_check(self, tmp_path: Path) -> None:
        story = tmp_path / "story.yaml"
        story.write_text(
            "world: sketch\ntimeline:\n"
            "  - {at: 1m, fault: disk_full, target: order-service}\n"
            "  - {at: 2m, fault: cpu_spike, target: order-service}\n"
            "  - {at: 3m, action: drain, target: order-service}\n"
        )
        result = simulate("scenario", str(story), "--check")
        assert result.exit_code == 1
        first, second = result.stderr.splitlines()
        assert f"{story}, line 3: 'order-service' cannot have the fault disk_full" in first
        assert f"{story}, line 5: World 'sketch' has no node 'order-service'" in second
        fine = simulate("scenario", "classics", "--check")
        assert (fine.exit_code, fine.stdout) == (
            0,
            "classics: 5 faults, 0 actions, 23m20s: can be played in sketch\n",
        )

    def test_no_such_scenario(self) -> None:
        result = simulate("scenario", "nonsense")
        assert result.exit_code == 1
        assert "There is no scenario 'nonsense'. Give a YAML file, or one of: black-" in (
            result.stderr
        )


class TestCatalogue:
    def test_worlds(self) -> None:
        result = simulate("worlds")
        assert result.exit_code == 0
        for name in ("shop", "sketch", "online-boutique", "train-ticket", "generated"):
            assert name in result.stdout

    def test_a_world_as_yaml(self) -> None:
        text = simulate("worlds", "--yaml", "shop").stdout
        assert yaml.safe_load(text)["name"] == "shop"
        assert {one.id for one in parse(text).services} == {one.id for one in shop().services}

    def test_every_kind_is_listed_with_its_targets(self) -> None:
        result = simulate("faults")
        for kind in KINDS.values():
            assert kind.type.value in result.stdout
        assert "metric_corruption" in result.stdout
        assert "3: catalog-db, shop-db, order-queue" in result.stdout
        assert "harmless_deploy (harmless)" in result.stdout

    def test_one_kind_in_full(self) -> None:
        result = simulate("faults", "disk-full", "--world", "shop")
        assert "A volume fills; then writes fail." in result.stdout
        assert "removed by: failover" in result.stdout
        assert "targets in shop: catalog-db, shop-db, order-queue" in result.stdout
        assert simulate("faults", "nonsense").exit_code == 2


class TestExport:
    def test_it_wants_a_port(self) -> None:
        result = simulate("--export", "here")
        assert result.exit_code == 2
        assert ":9100" in result.output

    @pytest.mark.parametrize(("content", "message"), [("", "is empty"), (None, "cannot be read")])
    def test_it_wants_a_token_where_it_is_told_of_one(
        self, tmp_path: Path, content: str | None, message: str
    ) -> None:
        file = tmp_path / "token"
        if content is not None:
            file.write_text(content)
        result = simulate("export", "--token-file", str(file), "--port", "0")
        assert result.exit_code == 2
        assert message in result.output


def demo(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = root / "simulations" / "demo_simulation.py"
    return subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )


class TestDemoScript:
    def test_it_runs_from_a_clone(self, root: Path) -> None:
        done = demo(root, "--speed", "0", "--duration", "30s", "--seed", "2", "--world", "sketch")
        assert done.returncode == 0
        assert CALM.fullmatch(done.stdout.splitlines()[0])
        assert done.stderr == ""

    def test_it_says_what_is_wrong(self, root: Path) -> None:
        wrong = demo(root, "--world", "moon")
        assert wrong.returncode == 1
        assert "There is no world 'moon'" in wrong.stderr

    def test_whoever_stops_reading_is_not_told_of_it(self, root: Path) -> None:
        script = root / "simulations" / "demo_simulation.py"
        arguments = ["--speed", "0", "--duration", "10m", "--world", "sketch"]
        with subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.readline()
            running.stdout.close()
            assert running.wait(60) == 0
            assert running.stderr.read() == b""
