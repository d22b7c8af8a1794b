"""`kill -9` while it commits: nothing that was acknowledged is lost, nothing is half there."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from dos.kit.clock import Millis
from dos.storage.sql.repositories import SqlStore

ROUNDS = 10
EVENTS_PER_COMMIT = 4

# Imports once and then forks a writer for each round, which saves ten starts of Python.
NURSERY = """
import asyncio, os, sys
from dos.model.events import *
from dos.storage.sql.repositories import SqlStore
from tests.unit.storage.examples import *

async def write(url):
    store = SqlStore(url)
    await store.open()
    seq = (await store.position()).seq + 1
    while True:
        about = alert(f"alert-{seq}", seq)
        await store.commit(step(
            seq,
            TopologyChanged(version=seq, entities=(entity(f"e{seq % 7}"),)),
            IncidentChanged(incident=incident(f"inc-{seq}", seq)),
            AlertChanged(alert=about),
            NotificationQueued(notification=notification(f"not-{seq}", about)),
        ))
        os.write(1, b"%12d\\n" % (seq + 3))
        await store.sent(f"not-{seq}", seq)
        seq += 4

for line in sys.stdin:
    writer = os.fork()
    if writer == 0:
        asyncio.run(write(line.strip()))
    os.write(1, b"%12d\\n" % writer)
    os.waitpid(writer, 0)
    os.write(1, b"%12d\\n" % -1)
"""


def numbers(pipe: int) -> list[int]:
    """All numbers up to the one that says that the writer is dead."""
    data = b""
    while not data.endswith(b"-1\n"):
        data += os.read(pipe, 65536)
    return [int(line) for line in data.split()][:-1]


@pytest.mark.timeout(180)
async def test_ten_kills(tmp_path: Path) -> None:
    path, rng = tmp_path / "dos.db", Random(11)
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    pipe = nursery.stdout.fileno()
    acknowledged = 0
    for _ in range(ROUNDS):
        nursery.stdin.write(f"sqlite+aiosqlite:///{path}\n".encode())
        nursery.stdin.flush()
        writer = int(os.read(pipe, 13))
        for _ in range(rng.randint(1, 8)):
            acknowledged = max(acknowledged, int(os.read(pipe, 13)))
        # Somewhere within the next commits, which take a few milliseconds each.
        await asyncio.sleep(rng.uniform(0.0, 0.01))
        os.kill(writer, signal.SIGKILL)
        acknowledged = max([acknowledged, *numbers(pipe)])
        acknowledged = max(acknowledged, await check(path, acknowledged))
    nursery.stdin.close()
    nursery.wait()
    nursery.stdout.close()
    assert acknowledged >= ROUNDS * EVENTS_PER_COMMIT


async def check(path: Path, acknowledged: int) -> int:
    """The store is intact and complete; returns its last sequence number."""
    store = SqlStore(f"sqlite+aiosqlite:///{path}")
    await store.open()
    position = await store.position()
    events = await store.events(limit=10**6)
    commits = position.seq // EVENTS_PER_COMMIT
    assert position.seq >= acknowledged
    assert position.seq % EVENTS_PER_COMMIT == 0, "a commit is there in part"
    assert position.offset == (position.seq - EVENTS_PER_COMMIT + 1) * 10
    assert [one.seq for one in events] == list(range(1, position.seq + 1))
    assert len(await store.incidents(limit=10**6)) == commits
    assert len(await store.alerts(limit=10**6)) == commits
    assert len(await store.outbox(Millis(10**15))) <= ROUNDS
    assert (await store.graph()).version == position.seq - EVENTS_PER_COMMIT + 1
    await store.close()
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()
    return position.seq
