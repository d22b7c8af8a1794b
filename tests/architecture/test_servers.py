"""The fixtures of conftest.py start real servers, and know a missing one from a broken test."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Server, answers, require_binary, running


def test_prometheus_scrapes_node_exporter(
    prometheus_server: Callable[..., Server], node_exporter: Server
) -> None:
    target = node_exporter.url.removeprefix("http://")
    prometheus = prometheus_server(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"- {{job_name: node, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    query = urllib.parse.urlencode({"query": 'up{job="node"}'})
    result: list[dict[str, list[str]]] = []
    deadline = time.monotonic() + 60
    while not result and time.monotonic() < deadline:
        with urllib.request.urlopen(f"{prometheus.url}/api/v1/query?{query}") as response:
            result = json.load(response)["data"]["result"]
        time.sleep(0.2)
    assert [sample["value"][1] for sample in result] == ["1"]


def test_a_server_ends_with_its_fixture(tmp_path: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    command = [
        require_binary("prometheus-node-exporter"),
        f"--web.listen-address=127.0.0.1:{free_port}",
    ]
    with running(command, tmp_path / "log", lambda: answers(url)):
        assert answers(url)
    assert not answers(url)


def test_a_server_that_dies_shows_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo out of luck; exit 3"]
    with (
        pytest.raises(pytest.fail.Exception, match="out of luck"),
        running(command, tmp_path / "log", lambda: False),
    ):
        pass


def test_alertmanager_and_redis_start(
    alertmanager_server: Callable[..., Server], redis_server: Server
) -> None:
    alertmanager = alertmanager_server("route: {receiver: none}\nreceivers: [{name: none}]\n")
    assert answers(f"{alertmanager.url}/api/v2/status")
    assert redis_server.url.startswith("redis://127.0.0.1:")


def test_a_missing_program_skips_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        require_binary("no-such-server")


def test_a_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-server"):
        require_binary("no-such-server")


def test_free_ports_are_different(free_ports: Callable[[int], list[int]]) -> None:
    assert len(set(free_ports(20))) == 20
