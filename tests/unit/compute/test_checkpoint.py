from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import structlog

from dos.compute.base import Checkpoint, CheckpointStore
from dos.compute.checkpoint import FileCheckpointStore, MemoryCheckpointStore
from dos.kit.errors import PermanentError, TransientError

Factory = Callable[[], CheckpointStore]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "memory":
        return MemoryCheckpointStore()
    return FileCheckpointStore(tmp_path / "host" / "state.ckpt")


def point(number: int, epoch: int = 1) -> Checkpoint:
    return Checkpoint(epoch=epoch, offset=number * 10, data=bytes([number]) * 1000)


def test_the_newest_comes_back(store: CheckpointStore) -> None:
    assert store.load() is None
    for number in (1, 2, 3):
        store.save(point(number))
        assert store.load() == point(number)
    empty = Checkpoint(epoch=9, offset=0, data=b"")
    store.save(empty)
    assert store.load() == empty


def test_who_was_taken_over_may_not_save(store: CheckpointStore) -> None:
    store.save(point(1, epoch=3))
    store.save(point(2, epoch=3))
    store.save(point(3, epoch=5))
    with pytest.raises(PermanentError, match="has epoch 5, ours is 4: another host took over"):
        store.save(point(4, epoch=4))
    assert store.load() == point(3, epoch=5)


def test_two_hosts_on_one_file_see_each_other(tmp_path: Path) -> None:
    old, new = (FileCheckpointStore(tmp_path / "state.ckpt") for _ in range(2))
    old.save(point(1, epoch=1))
    new.save(point(2, epoch=2))
    with pytest.raises(PermanentError, match=r"state\.ckpt has epoch 2"):
        old.save(point(3, epoch=1))
    assert old.load() == point(2, epoch=2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"X" + data[1:],
        lambda data: data[:10] + b"\xff" + data[11:],
        lambda data: data[:500] + b"\xff" + data[501:],
        lambda data: bytes(len(data)),
    ],
)
def test_a_damaged_one_gives_way_to_the_one_before(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "state.ckpt"
    store = FileCheckpointStore(path)
    store.save(point(1))
    store.save(point(2))
    path.write_bytes(damage(path.read_bytes()))
    with structlog.testing.capture_logs() as logs:
        assert store.load() == point(1)
    assert (logs[0]["event"], logs[0]["file"]) == ("checkpoint_damaged", str(path))

    # The next one must not push the intact one out in favour of the damaged one.
    store.save(point(3))
    path.write_bytes(b"damaged again")
    assert store.load() == point(1)


def test_with_both_damaged_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.ckpt"
    store = FileCheckpointStore(path)
    store.save(point(1))
    store.save(point(2))
    for one in (path, tmp_path / "state.ckpt.previous"):
        one.write_bytes(b"nothing")
    with structlog.testing.capture_logs() as logs:
        assert store.load() is None
    assert len(logs) == 2
    store.save(point(3))
    assert store.load() == point(3)


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.ckpt"
    store = FileCheckpointStore(path)
    store.save(point(1))
    path.rename(tmp_path / "state.ckpt.previous")
    (tmp_path / "state.ckpt.new").write_bytes(b"half")
    assert store.load() == point(1)
    store.save(point(2))
    assert store.load() == point(2)


def test_a_full_disk_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileCheckpointStore(tmp_path / "state.ckpt")
    store.save(point(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(TransientError, match=r"state\.ckpt: No space left on device"):
            store.save(point(2))
    assert store.load() == point(1)


WRITER = """
import os, sys
from dos.compute.base import Checkpoint
from dos.compute.checkpoint import FileCheckpointStore
store = FileCheckpointStore(sys.argv[1])
offset = 0
while True:
    offset += 1
    store.save(Checkpoint(epoch=1, offset=offset, data=offset.to_bytes(4, "little") * 50_000))
    os.write(1, offset.to_bytes(4, "little"))
"""


def test_kill_9_leaves_an_intact_one(tmp_path: Path) -> None:
    rng = Random(3)
    path = tmp_path / "state.ckpt"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        told = writer.stdout.read(4 * rng.randint(2, 30))
        writer.kill()
        told += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        found = FileCheckpointStore(path).load()
        assert found is not None
        assert found.offset >= int.from_bytes(told[-4:], "little")
        assert found.data == found.offset.to_bytes(4, "little") * 50_000
