"""Real processes that are started, die, come back, and are never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from dos.kit.clock import SystemClock
from dos.simulate.testbed import leash
from dos.simulate.testbed.children import Child, Launch, resident_bytes, unused_port
from dos.simulate.testbed.process import NO_PORT

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  processes tell nobody
            await asyncio.sleep(0.02)


@asynccontextmanager
async def child(
    folder: Path, code: str = SLEEPER, stdin: bytes = b"", ready: bool = True
) -> AsyncIterator[Child]:
    async def probe(_: int) -> bool:
        return ready

    one = Child(
        "one",
        lambda port: Launch(command=[sys.executable, "-c", code, str(port)], stdin=stdin),
        probe,
        log_file=folder / "one.log",
        clock=SystemClock(),
        rng=Random(1),
    )
    task = asyncio.create_task(one.run())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert one.pid is None


async def test_a_process_is_told_its_port_and_settings(tmp_path: Path) -> None:
    code = "import sys, time; print(sys.argv[1], sys.stdin.readline(), flush=True); time.sleep(600)"
    async with child(tmp_path, code, b"settings\n") as one:
        await until(lambda: "settings" in one.tail())
        assert one.tail().startswith(f"{one.port} settings")
        await until(lambda: one.ready)
        assert resident_bytes(one.pid or 0) > 1e6


async def test_one_that_dies_is_started_again_after_a_while(tmp_path: Path) -> None:
    async with child(tmp_path) as one:
        await until(lambda: one.ready)
        first, died = one.pid, time.monotonic()
        one.kill("OOMKilled")
        await until(lambda: one.starts == 2)
        assert time.monotonic() - died >= 0.5  # the floor of the back-off
        assert one.pid != first
        assert (one.restarts, one.last_end) == (1, "OOMKilled")


async def test_the_exit_is_told_as_it_was(tmp_path: Path) -> None:
    async with child(tmp_path, "raise SystemExit(3)", ready=False) as one:
        await until(lambda: one.last_end)
        assert one.last_end == "exit code 3"
        assert not one.ready
    async with child(tmp_path) as one:
        await until(lambda: one.ready)
        assert one.pid is not None
        os.kill(one.pid, signal.SIGTERM)
        await until(lambda: one.last_end)
        assert one.last_end == "signal SIGTERM"


async def test_one_that_is_held_stays_down_until_it_is_released(tmp_path: Path) -> None:
    async with child(tmp_path) as one:
        await until(lambda: one.ready)
        pid = one.pid or 0
        one.hold()
        one.hold()
        await until(lambda: one.pid is None)
        assert not alive(pid)
        assert (one.last_end, one.ready) == ("killed", False)
        await asyncio.sleep(1.2)  # longer than the first back-off
        assert one.pid is None
        one.release()
        await until(lambda: one.ready)
        assert one.restarts == 1


async def test_a_port_that_is_taken_is_changed(tmp_path: Path) -> None:
    async with child(tmp_path, f"raise SystemExit({NO_PORT})") as one:
        port = one.port
        await until(lambda: one.port != port)


async def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(600)"
    )
    began = time.monotonic()
    async with child(tmp_path, code) as one:
        await until(lambda: "deaf" in one.tail())
        pid = one.pid or 0
    assert not alive(pid)
    assert time.monotonic() - began >= 5.0


def test_a_program_on_the_leash_dies_with_whoever_started_it(tmp_path: Path) -> None:
    """Even when that one is killed and can clean up nothing."""
    pids = tmp_path / "pids"
    starter = (
        "import subprocess, sys, time\n"
        "from dos.simulate.testbed import leash\n"
        f"one = subprocess.Popen(leash.command(sys.executable, '-c', {SLEEPER!r}))\n"
        f"open({str(pids)!r}, 'w').write(str(one.pid))\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"  # the sleeper: the leash is on
    pid = int(pids.read_text())
    assert alive(pid)
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_was_not_started_by_the_one_it_names_does_not_stay() -> None:
    code = "from dos.simulate.testbed import leash; leash.bind(1); print('stayed')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_the_leash_is_of_this_process() -> None:
    assert leash.supported()
    assert leash.command("redis-server", "--port", "1")[1:] == [
        "-m",
        "dos.simulate.testbed.leash",
        str(os.getpid()),
        "redis-server",
        "--port",
        "1",
    ]


def test_unused_ports_and_gone_processes() -> None:
    assert 1024 < unused_port() < 65536
    assert resident_bytes(2**22 + 1) == 0
