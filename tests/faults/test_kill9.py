"""`kill -9` at random moments of a demonstration: nothing is lost, nothing is told twice.

The run is on virtual time, where the same seed makes the same decisions byte for byte. So the
strictest question can be asked: after any number of kills, are the decisions in the store exactly
those of a run that nobody disturbed?
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.receiver import Received, webhook_receiver

KILLS = 50
DURATION = "2400s"
SEED = "11"
FINISHED = 0
KILLED = -signal.SIGKILL


def demo(data: Path, record: Path, url: str, log: Path) -> subprocess.Popen[bytes]:
    """Start (or continue) the demonstration in `data`, in a process of its own."""
    command = [sys.executable, "-m", "dos", "demo", "--speed", "0", "--no-api"]
    command += ["--seed", SEED, "--duration", DURATION, "--report", "json"]
    command += ["--data-dir", str(data), "--record", str(record), "--webhook", url]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def play_undisturbed(data: Path, record: Path, url: str, log: Path) -> float:
    """The whole run at once; returns how long it took."""
    began = time.monotonic()
    process = demo(data, record, url, log)
    assert process.wait(timeout=240) == FINISHED, log.read_text()[-2000:]
    return time.monotonic() - began


def decisions(data: Path) -> list[str]:
    """Every event of the store, in order."""
    with sqlite3.connect(data / "dos.db") as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        return [row[0] for row in store.execute("select body from events order by seq")]


def outbox(data: Path) -> list[tuple[str, int]]:
    """Notifications for the webhook: id, and whether it was sent."""
    query = "select id, sent_at is not null from outbox where receiver = 'webhook' order by id"
    with sqlite3.connect(data / "dos.db") as store:
        return list(store.execute(query))


def check(data: Path, received: Received) -> None:
    """Every queued notification was sent, and told once: a repeated key is the same message."""
    queued = outbox(data)
    assert queued, "the run has no alerts, so it proves nothing"
    assert [sent for _, sent in queued] == [1] * len(queued)
    assert set(received.keys) == {notification for notification, _ in queued}
    for key in set(received.keys):
        bodies = [body for one, body in received.requests if one == key]
        assert all(body == bodies[0] for body in bodies)
    fired = {body["groupKey"] for body in received.with_status("firing")}
    resolved = [body["groupKey"] for body in received.with_status("resolved")]
    assert sorted(resolved) == sorted(fired)


@pytest.mark.slow(seconds=100)
@pytest.mark.timeout(900)
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    """Kill the run at 50 random moments, let it finish, and compare with one left alone."""
    with webhook_receiver() as alone:
        took = play_undisturbed(
            tmp_path / "alone", tmp_path / "alone-rec", alone.url, tmp_path / "alone.log"
        )
    check(tmp_path / "alone", alone)
    assert len(alone.keys) == len(set(alone.keys))
    rng = Random(20_26)
    data, record, log = tmp_path / "killed", tmp_path / "killed-rec", tmp_path / "killed.log"
    kills = finished = 0
    with webhook_receiver() as received:
        while kills < KILLS or not finished:
            process = demo(data, record, received.url, log)
            if kills < KILLS:
                # From before the first import to well into the run.
                moment = rng.uniform(0.2, 3.0 + 2 * took / KILLS)
                try:
                    code = process.wait(timeout=moment)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
            else:
                code = process.wait(timeout=240)
            assert code in {FINISHED, KILLED}, log.read_text()[-2000:]
            kills += code == KILLED
            finished += code == FINISHED
    check(data, received)
    assert decisions(data) == decisions(tmp_path / "alone")
    replayed = subprocess.run(
        [sys.executable, "-m", "dos", "replay", str(record)], capture_output=True, check=False
    )
    assert replayed.returncode == FINISHED, replayed.stdout.decode()
    # Only a process that died between the receiver's answer and the ledger repeats a message.
    repeats = len(received.keys) - len(set(received.keys))
    assert repeats <= KILLS // 10
    print(f"{kills} kills, {len(decisions(data))} decisions, {repeats} messages repeated")
