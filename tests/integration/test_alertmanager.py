"""DOS beside the real Alertmanager: the same stories give the same notifications."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from dos.alerting.alertmanager import read_alertmanager
from dos.alerting.groups import Groups
from dos.alerting.silences import Silences
from dos.kit.clock import SECOND, Millis
from dos.model.alert import PostedAlert
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence
from tests.conftest import answers, require_binary, running, unused_port
from tests.integration.alert_stories import (
    INTERVAL,
    INTERVALS,
    REPEAT,
    STORIES,
    TIMEOUT,
    WAIT,
    End,
    Fire,
    Hush,
    Story,
)

LASTS = 22.0
pytestmark = pytest.mark.serial  # the real one keeps real time: what is beside it would delay it
NOT_OURS = {"scenario"}


@dataclass(frozen=True)
class Notice:
    """One notification, as its receiver sees it."""

    group: str
    firing: frozenset[str]
    resolved: frozenset[str]
    at: float


def config(hook: str) -> str:
    """One file for all stories."""
    routes = [
        {
            "matchers": [f'scenario="{number}"'],
            "receiver": f"r{number}",
            "group_wait": f"{WAIT:.0f}s",
            "group_interval": f"{INTERVAL:.0f}s",
            "repeat_interval": f"{REPEAT:.0f}s",
            **story.route,
        }
        for number, story in enumerate(STORIES)
    ]
    inhibit = []
    for number, story in enumerate(STORIES):
        if story.inhibit:
            mine = f'scenario="{number}"'
            rule = dict(story.inhibit)
            for side in ("source_matchers", "target_matchers"):
                rule[side] = [*rule[side], mine]
            inhibit.append(rule)
    receivers: list[dict[str, Any]] = [{"name": "nobody"}]
    receivers += [
        {"name": f"r{number}", "webhook_configs": [{"url": f"{hook}/{number}"}]}
        for number in range(len(STORIES))
    ]
    return yaml.safe_dump(
        {
            "global": {"resolve_timeout": f"{TIMEOUT:.0f}s"},
            "route": {"receiver": "nobody", "routes": routes},
            "inhibit_rules": inhibit,
            "receivers": receivers,
            "time_intervals": INTERVALS,
        }
    )


def labels_of(number: int, one: Fire | End) -> dict[str, str]:
    return {"alertname": one.name, "scenario": str(number), **one.labels}


def group_text(labels: dict[str, str] | tuple[tuple[str, str], ...]) -> str:
    pairs = sorted(dict(labels).items())
    return ",".join(f"{name}={value}" for name, value in pairs if name not in NOT_OURS)


# ------------------------------------------------------------------------------------- theirs
@contextmanager
def hook() -> Iterator[tuple[str, list[tuple[int, float, dict[str, Any]]]]]:
    """A webhook receiver: story, time and body of each request."""
    seen: list[tuple[int, float, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((int(self.path.strip("/")), time.time(), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output readable."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, body: object) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def tell_theirs(url: str, number: int, one: Fire | End | Hush) -> None:
    now = time.time()
    if isinstance(one, Hush):
        matchers = [
            {
                "name": m.name,
                "value": m.value,
                "isRegex": m.operator.is_pattern,
                "isEqual": not m.operator.negative,
            }
            for m in parse_matchers(f'{one.match},scenario="{number}"')
        ]
        times = {"startsAt": stamp(now), "endsAt": stamp(now + one.lasts)}
        said = {"matchers": matchers, **times, "createdBy": "test", "comment": "story"}
        post(f"{url}/api/v2/silences", said)
        return
    alert: dict[str, Any] = {"labels": labels_of(number, one)}
    if isinstance(one, End):
        alert["endsAt"] = stamp(now)
        # As Prometheus does: the start stays that of the alert.
        alert["startsAt"] = stamp(now - 2.0)
    else:
        if one.began:
            alert["startsAt"] = stamp(now - one.began)
        if not one.open_end:
            alert["startsAt"] = stamp(now - one.began)
            alert["endsAt"] = stamp(now + one.lasts)
    post(f"{url}/api/v2/alerts", [alert])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Notice]]:
    """What the real Alertmanager tells of each story."""
    binary = require_binary("prometheus-alertmanager")
    home = tmp_path_factory.mktemp("alertmanager")
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    with hook() as (address, seen):
        file = home / "alertmanager.yml"
        file.write_text(config(address))
        command = [
            binary,
            f"--config.file={file}",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        with running(command, home / "log", lambda: answers(f"{url}/-/ready")):
            began = time.time()
            happens = sorted(
                (
                    (one.at, number, one)
                    for number, story in enumerate(STORIES)
                    for one in story.happens
                ),
                key=lambda row: row[:2],
            )
            for at, number, one in happens:
                time.sleep(max(0.0, began + at - time.time()))
                tell_theirs(url, number, one)
            time.sleep(max(0.0, began + LASTS - time.time()))
    found: dict[int, list[Notice]] = {number: [] for number in range(len(STORIES))}
    for number, when, body in list(seen):
        names = {
            status: frozenset(
                a["labels"]["alertname"] for a in body["alerts"] if a["status"] == status
            )
            for status in ("firing", "resolved")
        }
        found[number].append(
            Notice(
                group=group_text(body["groupLabels"]),
                firing=names["firing"],
                resolved=names["resolved"],
                at=when - began,
            )
        )
    return found


# --------------------------------------------------------------------------------------- ours
def ours(number: int) -> list[Notice]:
    """What DOS tells of a story, in virtual time."""
    read = read_alertmanager(config("http://127.0.0.1:1"))
    silences = Silences()
    groups = Groups(
        read.tree,
        inhibit=read.inhibit,
        intervals=read.intervals,
        silenced=lambda labels, at: silences.by(labels, at) is not None,
        resolve_timeout=TIMEOUT,
    )
    base = 1_800_000_000 * SECOND
    happens = sorted(STORIES[number].happens, key=lambda one: one.at)
    found: list[Notice] = []
    for tenth in range(round(LASTS * 10)):
        now = Millis(base + tenth * 100)
        while happens and happens[0].at <= tenth / 10:
            tell_ours(groups, silences, number, happens.pop(0), now)
        found += [
            Notice(
                group=group_text(one.group),
                firing=frozenset(dict(a.labels)["alertname"] for a in one.firing),
                resolved=frozenset(dict(a.labels)["alertname"] for a in one.resolved),
                at=tenth / 10,
            )
            for one in groups.tick(now)
        ]
    return found


def tell_ours(
    groups: Groups, silences: Silences, number: int, one: Fire | End | Hush, now: Millis
) -> None:
    if isinstance(one, Hush):
        wanted = Silence(
            matchers=parse_matchers(f'{one.match},scenario="{number}"'),
            starts_at=now,
            ends_at=Millis(now + round(one.lasts * SECOND)),
            created_by="test",
            comment="story",
            updated_at=now,
        )
        for planned in silences.plan(wanted, now):
            silences.put(planned)
        return
    labels = tuple(sorted(labels_of(number, one).items()))
    if isinstance(one, End):
        began, ends = Millis(now - 2 * SECOND), now
    else:
        began = Millis(now - round(one.began * SECOND))
        ends = None if one.open_end else Millis(now + round(one.lasts * SECOND))
    groups.take([PostedAlert(labels=labels, starts_at=began, ends_at=ends, updated_at=now)], now)


def story_id(number: int) -> str:
    return STORIES[number].name


def without(notices: list[Notice], more: tuple[tuple[str, str], ...]) -> list[Notice]:
    """Without those in which DOS alone says that something is over."""
    left = list(notices)
    for group, name in more:
        extra = next(one for one in left if one.group == group and name in one.resolved)
        left.remove(extra)
    return left


def by_group(notices: list[Notice]) -> dict[str, list[Notice]]:
    found: dict[str, list[Notice]] = {}
    for one in sorted(notices, key=lambda one: one.at):
        found.setdefault(one.group, []).append(one)
    return found


@pytest.mark.parametrize("number", range(len(STORIES)), ids=story_id)
def test_the_same_is_told_of_a_story(number: int, theirs: dict[int, list[Notice]]) -> None:
    story: Story = STORIES[number]
    mine, real = by_group(without(ours(number), story.more)), by_group(theirs[number])
    assert {g: [(n.firing, n.resolved) for n in told] for g, told in mine.items()} == {
        g: [(n.firing, n.resolved) for n in told] for g, told in real.items()
    }
    for group, told in mine.items():
        for a, b in zip(told, real[group], strict=True):
            assert abs(a.at - b.at) <= INTERVAL


def test_both_have_something_to_tell(theirs: dict[int, list[Notice]]) -> None:
    assert sum(map(len, theirs.values())) > 60
