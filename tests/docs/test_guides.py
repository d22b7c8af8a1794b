"""The plugins shown in the guides work as they are shown."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dos.app.settings_load import validate
from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.plugins import load
from dos.kit.yaml_source import parse
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec
from dos.rca.base import Ranker
from dos.rca.case import Case
from dos.testing.detectors import bytes_of, check_detector
from dos.testing.rankers import check_ranker
from dos.testing.sources import check_source
from tests.docs.pages import ROOT, blocks

PLUGINS = {
    "add-a-source": "dos.ingest.sources.loadavg",
    "add-a-detector": "dos.detect.detectors.plain_ewma",
    "add-a-ranker": "dos.rca.rankers.earliest",
    "add-a-notifier": "dos.alerting.notifiers.lamp",
}


def shown(guide: str, language: str) -> str:
    """The first block in `language` of a guide."""
    page = f"docs/guides/{guide}.md"
    return next(block.text for block in blocks(language) if block.page == page)


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guides' modules, where `type:` finds them."""
    for guide, path in PLUGINS.items():
        module = ModuleType(path)
        monkeypatch.setitem(sys.modules, path, module)
        exec(compile(shown(guide, "python"), f"{guide}.md", "exec"), vars(module))


@pytest.mark.parametrize("guide", PLUGINS)
def test_its_configuration_is_valid(guide: str) -> None:
    validate(parse(shown(guide, "yaml").encode(), guide), {})


@pytest.mark.parametrize("guide", ["add-a-source", "add-a-detector", "add-a-ranker"])
def test_its_code_passes_lint(guide: str) -> None:
    where = ROOT / "src" / (PLUGINS[guide].replace(".", "/") + ".py")
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--stdin-filename", str(where), "-"]
        done = subprocess.run(
            command, input=shown(guide, "python"), capture_output=True, text=True, cwd=ROOT,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


async def test_the_source_keeps_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "loadavg"
    path.write_text("0.52 0.58 0.59 1/467 12345\n")
    sink = await check_source(load("dos.ingest.sources", "loadavg"), {"path": str(path)})
    _, values = sink.samples("localhost", "load1")
    assert set(values) == {0.52}


def test_the_detector_finds_a_step_and_nothing_else() -> None:
    kernel = DetectKernel(DetectConfig(detector="plain_ewma"))
    specs = [SeriesSpec(entity=EntityId(name), metric="m", role=Role.OTHER) for name in "ab"]
    host = LocalHost(kernel)
    host.register([Series(id=SeriesId(i), spec=spec) for i, spec in enumerate(specs)])
    rng, started = np.random.default_rng(1), list[tuple[int, int]]()
    for tick in range(600):
        value = 10 + rng.normal(0, 0.5, 2)
        value[1] += 8 if tick >= 500 else 0
        batch = MetricBatch(
            series_id=np.arange(2, dtype=np.int32),
            timestamp=np.full(2, tick * 15 * SECOND, np.int64),
            value=value,
        )
        findings = host.step(batch)
        started += [(tick, int(s)) for s in findings.series_id[findings.started]]
    assert [series for _, series in started] == [1]
    assert 500 <= started[0][0] <= 503


def test_the_detector_keeps_the_contract_and_its_example_holds() -> None:
    check_detector(load("dos.detect.detectors", "plain_ewma"))
    module = sys.modules[PLUGINS["add-a-detector"]]
    assert doctest.testmod(module, raise_on_error=True).attempted > 3
    said = re.search(r"State: (\d+) bytes", module.__doc__ or "")
    plugin = load("dos.detect.detectors", "plain_ewma")
    assert said
    assert int(said[1]) == bytes_of(plugin.build(plugin.config()))


def test_the_ranker_keeps_the_contract_and_its_example_holds() -> None:
    check_ranker(load("dos.rca.rankers", "earliest"))
    assert doctest.testmod(sys.modules[PLUGINS["add-a-ranker"]], raise_on_error=True).attempted > 2


def test_the_ranker_blames_who_moved_first() -> None:
    ranker: Ranker = (plugin := load("dos.rca.rankers", "earliest")).build(plugin.config())
    rng = np.random.default_rng(1)
    values = 10 + rng.normal(0, 0.1, (120, 3))
    values[90:, 2] += 5
    values[94:, 0] += 9
    specs = tuple(SeriesSpec(entity=EntityId(name), metric="m") for name in "abc")
    times = np.arange(120, dtype=np.int64) * 15 * SECOND
    start, end = Millis(90 * 15 * SECOND), Millis(int(times[-1]))
    cause = ranker.rank(Case(times=times, values=values, series=specs, start=start, end=end))
    assert cause.top is not None
    assert cause.top.entity == "c"
    assert cause.top.evidence
    calm = ranker.rank(
        Case(times=times[:80], values=values[:80], series=specs, start=Millis(15 * MINUTE), end=end)
    )
    assert calm.unknown == 1.0
