"""`kill -9` at random moments of a demonstration: nothing is lost, nothing is told twice.

The run is on virtual time, where the same seed makes the same decisions byte for byte. So the
strictest question can be asked: after any number of kills, are the decisions in the store exactly
those of a run that nobody disturbed?

Importing DOS takes longer than most of what is worth killing. So all but a few of the processes
are forked from one that has imported it already, and has done nothing else.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

import pytest

from dos.app.demo import run_demo
from dos.app.demo_types import DemoOptions
from tests.receiver import Received, webhook_receiver

DURATION = 450
SEED = 11
FINISHED = 0
KILLED = -signal.SIGKILL
COLD, EARLY, LATE = 10, 30, 10
"""Kills while a command starts, at its first steps, and everywhere in the run."""
KILLS = COLD + EARLY + LATE
LONGEST = 240.0
"""Seconds after which a process that should end by itself is stuck."""

Moment = Callable[[], bool]
"""Whether it is time to kill."""

STARTER = get_context("forkserver")
STARTER.set_forkserver_preload(["dos.app.demo", "dos.app.http", "dos.storage.sql.repositories"])


@dataclass(frozen=True)
class Place:
    """Where a demonstration keeps what it knows, and whom it tells."""

    home: Path
    url: str

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def record(self) -> Path:
        return self.home / "record"

    @property
    def progress(self) -> int:
        """Bytes of decisions: how far the run is."""
        path = self.record / "decisions.jsonl"
        return path.stat().st_size if path.exists() else 0


def forked(place: Place) -> ForkServerProcess:
    """Start (or continue) the demonstration in a process that has imported everything."""
    options = DemoOptions(
        duration=DURATION,
        seed=SEED,
        speed=0,
        api=False,
        data_dir=place.data,
        record=place.record,
        webhook=place.url,
    )
    process = STARTER.Process(target=run_demo, args=(options, None))
    process.start()
    return process


def forked_until(place: Place, moment: Moment) -> int:
    """The same until it is time to kill it; returns how it ended."""
    process = forked(place)
    while process.exitcode is None and not moment():
        time.sleep(0.005)
    process.kill()
    process.join(10)
    assert process.exitcode is not None
    return process.exitcode


def commanded_until(place: Place, moment: Moment) -> int:
    """The same by the command, in a process that has everything still to import."""
    command = [sys.executable, "-m", "dos", "demo", "--speed", "0", "--no-api"]
    command += ["--seed", str(SEED), "--duration", f"{DURATION}s", "--report", "json"]
    command += ["--data-dir", str(place.data), "--record", str(place.record)]
    with (place.home / "log").open("ab") as output:
        process = subprocess.Popen([*command, "--webhook", place.url], stdout=output, stderr=output)
    while process.poll() is None and not moment():
        time.sleep(0.005)
    process.kill()
    return process.wait(10)


def after(seconds: float) -> Moment:
    """That long from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def kills(rng: Random, whole: int, took: float) -> Iterator[Callable[[Place], int]]:
    """Every kill, in an order of chance.

    Args:
        whole: Bytes of decisions of the whole run.
        took: Seconds the whole run takes.
    """
    order = ["cold"] * COLD + ["early"] * EARLY + ["late"] * LATE
    rng.shuffle(order)
    late = iter(sorted(rng.uniform(0, 0.9 * whole) for _ in range(LATE)))
    for kind in order:
        if kind == "cold":
            yield lambda place: commanded_until(place, after(rng.uniform(0.2, 3.0)))
        elif kind == "early":
            yield lambda place: forked_until(place, after(rng.uniform(0, took / 20)))
        else:
            far = next(late)
            yield lambda place, far=far: forked_until(place, lambda: place.progress >= far)


def play(place: Place) -> float:
    """The run, or the rest of it, with nobody to disturb it; returns how long it took."""
    began = time.monotonic()
    process = forked(place)
    process.join(LONGEST)
    assert process.exitcode == FINISHED
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
    """Kill the run 50 times, let it finish, and compare with one left alone."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "killed").mkdir()
    with webhook_receiver() as told:
        alone = Place(tmp_path / "alone", told.url)
        took = play(alone)
    check(alone.data, told)
    assert len(told.keys) == len(set(told.keys))
    rng = Random(20_26)
    reached: set[int] = set()
    with webhook_receiver() as received:
        place = Place(tmp_path / "killed", received.url)
        for kill in kills(rng, alone.progress, took):
            assert kill(place) == KILLED
            reached.add(place.progress)
        play(place)
    assert len(reached) > LATE / 2, "kills all over the run"
    check(place.data, received)
    assert decisions(place.data) == decisions(alone.data)
    replayed = subprocess.run(
        [sys.executable, "-m", "dos", "replay", str(place.record)], capture_output=True, check=False
    )
    assert replayed.returncode == FINISHED, replayed.stdout.decode()
    # Only a process that died between the receiver's answer and the ledger repeats a message.
    repeats = len(received.keys) - len(set(received.keys))
    assert repeats <= KILLS // 10
    print(
        f"{KILLS} kills at {len(reached)} places, {len(decisions(place.data))} decisions, "
        f"{repeats} messages repeated"
    )
