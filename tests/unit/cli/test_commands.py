"""The command line: options, exit codes, and how errors are said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import dos.app.demo
import dos.app.serving
import dos.evaluate.replay
from dos.app.demo_types import (
    DEMO_REPORT,
    AlertCount,
    DemoOptions,
    DemoReport,
    DemoView,
    Detection,
    InjectedFault,
    RankedCause,
)
from dos.app.replay_types import REPLAY_REPORTS, ReplayKind, ReplayReport
from dos.app.settings import Settings
from dos.cli.main import app
from dos.kit.clock import Millis
from dos.kit.errors import PermanentError
from dos.kit.version import __version__
from dos.model.ids import EntityId, IncidentId
from tests.unit.cli.view_states import BUSY


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.yaml and no DOS_ variables of the developer's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DOS_")]:
        monkeypatch.delenv(name)


def dos_(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


class TestMain:
    def test_version(self) -> None:
        result = dos_("--version")
        assert (result.exit_code, result.stdout) == (0, f"dos {__version__}\n")

    @pytest.mark.parametrize("command", ["serve", "demo", "replay", "check-config", "config"])
    def test_every_command_has_help(self, command: str) -> None:
        assert command in dos_("--help").stdout
        result = dos_(command, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout

    @pytest.mark.skipif(find_spec("dos.cli.simulate") is None, reason="not there yet")
    def test_the_simulator_is_mounted(self) -> None:
        assert dos_("simulate", "--help").exit_code == 0

    @pytest.mark.parametrize(
        "words",
        [("nonsense",), ("serve", "--port", "x"), ("serve", "--port", "70000"), ("replay",),
         ("demo", "--duration", "soon"), ("demo", "--report", "xml"), ("demo", "--speed", "-1")],
    )  # fmt: skip
    def test_wrong_usage_is_exit_code_2(self, words: tuple[str, ...]) -> None:
        assert dos_(*words).exit_code == 2

    def test_a_wrong_duration_shows_a_right_one(self) -> None:
        said = dos_("demo", "--duration", "soon").output.replace("│", " ")
        assert "write for example 15s" in " ".join(said.split())

    def test_help_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from dos.cli.main import app\n"
            "try: app(['--help'])\nexcept SystemExit: pass\n"
            "print([m for m in ('numpy', 'pydantic', 'fastapi', 'sqlalchemy', 'pyarrow', 'uvicorn')"
            " if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_stream_that_is_ascii_only_is_no_crash(self) -> None:
        code = "from dos.cli.main import app; app(['check-config', 'nö.yaml'])"
        env = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert done.stdout.startswith(b"n?.yaml: cannot be read")


class TestErrors:
    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(settings: Settings) -> None:
            msg = "The port 8000 is taken\x1b[2J."
            raise PermanentError(msg, remedy="Choose another with --port.")

        monkeypatch.setattr(dos.app.serving, "serve", fail)

    @pytest.mark.usefixtures("failing")
    def test_an_error_is_one_line_with_the_remedy_and_no_traceback(self) -> None:
        result = dos_("serve")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == ("error: The port 8000 is taken�[2J. Choose another with --port.\n")

    @pytest.mark.usefixtures("failing")
    def test_debug_lets_the_traceback_through(self) -> None:
        result = dos_("--debug", "serve")
        assert isinstance(result.exception, PermanentError)

    def test_a_wrong_configuration_stops_serve_with_every_problem(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("server: {prot: 1}\nlog: {level: x}\n")
        result = dos_("serve", "--config", "c.yaml")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: the configuration has 2 problems:\nc.yaml:1:10: ")
        assert "Traceback" not in result.stderr


class TestServe:
    def test_options_win_over_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        got: list[Settings] = []
        monkeypatch.setattr(dos.app.serving, "serve", got.append)
        (tmp_path / "config.yaml").write_text("server: {host: 10.0.0.1, port: 1}\ndata_dir: d\n")
        assert dos_("serve", "--port", "9000").exit_code == 0
        assert (got[0].server.host, got[0].server.port) == ("10.0.0.1", 9000)
        assert got[0].data_dir == Path("d")


class TestConfig:
    def test_a_valid_file(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("data_dir: d\n")
        result = dos_("check-config", "c.yaml")
        assert (result.exit_code, result.stdout) == (0, "c.yaml: valid\n")

    def test_no_file(self) -> None:
        result = dos_("check-config")
        assert (result.exit_code, result.stdout) == (0, "no file: the defaults: valid\n")

    def test_problems_one_a_line_and_exit_code_1(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("server:\n  prot: 1\nsources:\n- type: push\n  x: 1\n")
        result = dos_("check-config", "c.yaml")
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            (
                "c.yaml:2:3: server.prot: unknown key; did you mean 'port'? "
                "(keys: host, port, token, token_file)"
            ),
            "c.yaml:5:3: sources[0].x: unknown key (keys: type, name)",
        ]
        assert result.stderr == "2 problems\n"

    def test_the_file_of_routes_is_checked_as_well(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("alerting: {routes_file: am.yml}\n")
        assert "am.yml cannot be read" in dos_("check-config", "c.yaml").stderr
        (tmp_path / "am.yml").write_text("route: {receiver: x}\nreceivers: [{name: y}]\n")
        result = dos_("check-config", "c.yaml")
        assert result.exit_code == 1
        assert "there is no receiver 'x'" in result.stderr
        (tmp_path / "am.yml").write_text("route: {receiver: x}\nreceivers: [{name: x}]\n")
        assert dos_("check-config", "c.yaml").exit_code == 0

    def test_a_name_with_control_characters_cannot_move_the_cursor(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text('"\\e[2J": 1\n')
        assert "\x1b" not in dos_("check-config", "c.yaml").stdout

    def test_show_hides_secrets(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("server: {token: s3cret}\n")
        result = dos_("config", "show")
        shown = yaml.safe_load(result.stdout)
        assert shown["server"]["token"] == "***"
        assert shown["sources"] == [{"type": "push", "name": "push"}]
        assert shown["history"]["retention"] == "2h"
        assert "s3cret" not in result.stdout

    def test_schema_example_and_reference_are_printed(self) -> None:
        assert json.loads(dos_("config", "schema").stdout)["$schema"].startswith(
            "https://json-schema"
        )
        assert dos_("config", "example").stdout.startswith("# Configuration of")
        assert dos_("config", "reference").stdout.startswith("# Configuration\n")


REPORT = DemoReport(
    seed=7,
    world="shop",
    duration=120.0,
    faults=(
        InjectedFault(
            fault="CPU spike",
            target=EntityId("payment-service"),
            start=Millis(1_000_000),
            end=Millis(1_090_000),
            detection=Detection(
                incident=IncidentId("inc-1"),
                opened_at=Millis(1_012_000),
                resolved_at=None,
                delay=12.0,
                ranked=(
                    RankedCause(
                        entity=EntityId("payment-service"), metric="cpu_usage", probability=0.8
                    ),
                ),
                unknown=0.2,
                correct_rank=1,
            ),
        ),
        InjectedFault(
            fault="Memory leak",
            target=EntityId("[red]user"),
            start=Millis(1_100_000),
            end=None,
            detection=None,
        ),
    ),
    false_incidents=(IncidentId("inc-9"),),
    alerts=(AlertCount(receiver="console", fired=2, resolved=1, failed=1),),
    samples=17_280,
    ticks=120,
    wall_seconds=3.25,
)


@dataclass
class _Demo:
    options: list[DemoOptions] = field(default_factory=list)

    def __call__(self, options: DemoOptions, view: DemoView | None) -> DemoReport:
        assert view is not None
        self.options.append(options)
        view.update(BUSY)
        return REPORT


class TestDemo:
    @pytest.fixture
    def demo(self, monkeypatch: pytest.MonkeyPatch) -> _Demo:
        demo = _Demo()
        monkeypatch.setattr(dos.app.demo, "run_demo", demo)
        return demo

    def test_json_is_one_document_and_the_view_goes_to_standard_error(self, demo: _Demo) -> None:
        result = dos_("demo", "--duration", "120s", "--seed", "3", "--report", "json", "--no-api")
        assert result.exit_code == 0
        assert DEMO_REPORT.validate_json(result.stdout) == REPORT
        assert "INCIDENT inc-3f9a2c1b7d04 opened" in result.stderr
        assert demo.options == [DemoOptions(duration=120.0, seed=3, api=False)]

    def test_every_option_arrives(self, demo: _Demo) -> None:
        dos_("demo", "--duration", "1h", "--speed", "0", "--world", "sketch", "--port", "0",
             "--host", "::1", "--data-dir", "d", "--record", "r")  # fmt: skip
        assert demo.options == [
            DemoOptions(duration=3600.0, speed=0.0, world="sketch", port=0, host="::1",
                        data_dir=Path("d"), record=Path("r"))
        ]  # fmt: skip

    @pytest.mark.usefixtures("demo")
    def test_the_report_for_people(self) -> None:
        result = dos_("demo")
        assert result.exit_code == 0
        text = " ".join(result.stdout.split())
        for words in (
            "2 min of shop with seed 7, 120 steps and 17,280 samples in 3.2 s",
            "payment-service 80% number 1",
            "[red]user missed",
            "1 of 2 found, 1 with the true cause ranked first",
            "false incidents: inc-9",
            "alerts to console: 2 fired, 1 resolved, 1 failed",
        ):
            assert words in text

    def test_an_interrupt_is_exit_code_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(options: DemoOptions, view: DemoView | None) -> DemoReport:
            raise KeyboardInterrupt

        monkeypatch.setattr(dos.app.demo, "run_demo", interrupted)
        result = dos_("demo")
        assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def report_of(path: Path, *, identical: bool | None) -> ReplayReport:
    case = identical is None
    return ReplayReport(
        path=path,
        kind=ReplayKind.CASE if case else ReplayKind.RECORDING,
        inputs=240,
        samples=28_800,
        decisions=31,
        incidents=2,
        identical=identical,
        difference="event 12 differs" if identical is False else None,
        ranked=REPORT.faults[0].detection.ranked if case and REPORT.faults[0].detection else (),
        unknown=0.2 if case else None,
        truth=("payment-service",) if case else (),
        correct_rank=1 if case else None,
    )


class TestReplay:
    @pytest.fixture(autouse=True)
    def _replay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        verdicts = {"same": True, "other": False, "case": None}
        monkeypatch.setattr(dos.evaluate.replay, "find", lambda path: [path])
        monkeypatch.setattr(
            dos.evaluate.replay,
            "replay",
            lambda path: report_of(path, identical=verdicts[path.name]),
        )

    def test_identical_decisions_are_exit_code_0(self) -> None:
        result = dos_("replay", "same", "case")
        assert result.exit_code == 0
        assert "✓ same: identical decisions" in result.stdout
        assert "240 inputs, 28,800 samples, 31 decisions, 2 incidents" in result.stdout
        assert "✓ case: true cause at place 1: payment-service" in result.stdout
        assert "1.  80%  payment-service  cpu_usage  (true cause)" in result.stdout

    def test_other_decisions_are_exit_code_1_and_show_the_first_difference(self) -> None:
        result = dos_("replay", "same", "other")
        assert result.exit_code == 1
        assert "other: DIFFERENT decisions" in result.stdout
        assert "first difference: event 12 differs" in result.stdout

    def test_json_is_one_document(self) -> None:
        reports = REPLAY_REPORTS.validate_json(dos_("replay", "--json", "same", "case").stdout)
        assert [report.path.name for report in reports] == ["same", "case"]
