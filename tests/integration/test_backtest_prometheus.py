"""`dos backtest --prometheus` against a real server over recorded blocks."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from dos.app.settings_load import load
from dos.cli.main import app
from dos.evaluate.backtest.past import Stretch
from dos.evaluate.backtest.prometheus import fetched
from dos.evaluate.backtest.run import fly
from dos.kit.clock import HOUR, MINUTE, SECOND, Millis
from tests.conftest import answers, require_binary, running, unused_port

T0 = 1_760_000_400
"""A multiple of 15 s, seconds."""
HOURS = 3.0
FAULT = range(9000, 9600)
"""Seconds after the start in which `cart` is slow and fails."""
METRICS = {
    "shop_latency_seconds": (0.2, 5.0),
    "shop_error_ratio": (0.002, 100.0),
    "shop_requests": (80.0, 1.0),
}
"""Usual value, and what it is multiplied by in the fault."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prometheus data folder, made by promtool."""
    home = tmp_path_factory.mktemp("blocks")
    rng = np.random.default_rng(4)
    lines = []
    for metric, (usual, times) in METRICS.items():
        for service in ("web", "cart", "db"):
            for second in range(0, round(HOURS * 3600) + 1, 15):
                broken = service in {"cart", "web"} and second in FAULT
                value = usual * np.exp(0.03 * rng.standard_normal()) * (times if broken else 1.0)
                lines.append(f'{metric}{{service="{service}"}} {value} {T0 + second}\n')
    text = home / "recording.om"
    text.write_text("".join(lines) + "# EOF\n")
    command = [require_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*command, str(text), str(home / "data")], check=True, capture_output=True)
    return home / "data"


def test_the_past_of_a_prometheus_is_fetched_and_judged(data: Path, tmp_path: Path) -> None:
    port = unused_port()
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "prometheus.yml").write_text("")
    command = [
        require_binary("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    keys = {
        "data_dir": str(tmp_path / "dos"),
        "sources": [
            {
                "type": "prometheus",
                "url": "http://127.0.0.1:1",  # another one is asked
                "presets": [],
                "queries": [
                    {"metric": metric, "promql": metric, "entity": "service"} for metric in METRICS
                ],
            }
        ],
        "topology": {"declared": [{"caller": "web", "callee": "cart"}]},
        "alerting": {"receivers": []},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(keys))
    stretch = Stretch(
        since=2 * 3600.0, learn=3600.0, until=Millis((T0 + round(HOURS * 3600)) * SECOND)
    )
    with running(command, tmp_path / "log", partial(answers, f"{url}/-/ready")):
        with fetched(url, load(config).settings, stretch) as past:
            flight = fly(past, load(config).settings)
        silent = CliRunner().invoke(
            app, ["backtest", "--prometheus", url, "--present", str(config), "--json"]
        )
    assert flight.series == 9
    assert flight.samples >= 9 * (HOURS * 240 - 5)
    assert flight.until - flight.since >= 2 * HOUR - 5 * MINUTE
    (page,) = flight.pages
    assert {"cart", "web"} & set(page.entities)
    assert abs(page.told_at - (T0 + FAULT.start) * SECOND) <= 90 * SECOND
    # Up to now there are no samples: the recording is a year old.
    assert silent.exit_code == 1
    assert "no samples" in silent.stderr
    assert not (tmp_path / "dos").exists()
