"""Processes that are started, watched, restarted and ended, as a kubelet does with containers.

`Child.run` is the one task of a process: it starts it, waits for its end, and starts it again
after a back-off that grows while the process keeps dying. Held down, it stays down. Whoever
cancels the task ends the process; if this program is killed, the kernel ends them (`leash`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from dos.kit import log
from dos.kit.clock import Clock
from dos.kit.retry import Backoff
from dos.simulate.testbed.process import NO_PORT

STEADY = 30.0
"""Seconds a process has to live for its next back-off to be the first again."""
_BACKOFF = Backoff(first=1.0, ceiling=30.0, floor=0.5)
_PATIENCE = 5.0
"""Seconds a process gets to end after SIGTERM."""
_PROBE = 0.1
"""Seconds between two looks whether a process is ready."""
_TAIL = 2000
_log = log.get("testbed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a process is started on a given port."""

    command: list[str]
    stdin: bytes = b""


class Child:
    """One process that ought to run.

    Args:
        name: For people and files.
        launch: From the port to the command.
        probe: Whether the process on a port is ready to work.
        log_file: Where its output goes.
        clock: Times back-off and probes.
        rng: Jitters the back-off.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[int], Launch],
        probe: Callable[[int], Awaitable[bool]],
        *,
        log_file: Path,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.name = name
        self.port = unused_port()
        self.ready = False
        self.starts = 0
        self.last_end = ""
        """Why it ended the last time: `OOMKilled`, `killed`, `exit code 1`, …."""
        self._launch = launch
        self._probe = probe
        self._log_file = log_file
        self._clock = clock
        self._rng = rng
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._process: Process | None = None
        self._reason = ""

    @property
    def pid(self) -> int | None:
        """Of the process; None while it is down."""
        return self._process.pid if self._process else None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.starts - 1)

    def kill(self, reason: str) -> None:
        """Kill it (SIGKILL); it will be restarted."""
        if self._process is not None and self._process.returncode is None:
            self._reason = reason
            self._process.kill()

    def hold(self) -> None:
        """Kill it, and keep it down."""
        if self._allowed.is_set():
            self._allowed.clear()
            self.kill("killed")

    def release(self) -> None:
        """Let it be started again."""
        self._allowed.set()

    async def run(self) -> None:
        """Keep it running until cancelled."""
        delays = self._delays()
        while True:
            await self._allowed.wait()
            began = self._clock.monotonic()
            code = await self._live()
            self._ended(code)
            if not self._allowed.is_set():
                continue  # somebody wants it down: no back-off when it may come back
            if self._clock.monotonic() - began >= STEADY:
                delays = self._delays()
            await self._clock.sleep(next(delays))

    def tail(self) -> str:
        """The end of its output."""
        try:
            return self._log_file.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        except OSError as error:
            return str(error)

    async def _live(self) -> int:
        """One life, from start to exit code."""
        launch = self._launch(self.port)
        with self._log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launch.command,
                stdin=PIPE if launch.stdin else DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C is for the supervisor, which ends its children
            )
        self._process, self._reason = process, ""
        self.starts += 1
        try:
            if process.stdin is not None:
                process.stdin.write(launch.stdin)
                process.stdin.close()
            async with asyncio.TaskGroup() as group:
                probing = group.create_task(self._await_ready())
                code = await process.wait()
                probing.cancel()
            return code
        finally:
            self.ready = False
            await self._end(process)
            self._process = None

    async def _await_ready(self) -> None:
        while not await self._probe(self.port):
            await self._clock.sleep(_PROBE)
        self.ready = True

    async def _end(self, process: Process) -> None:
        if process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _ended(self, code: int) -> None:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.last_end = self._reason or how
        _log.warning("process ended", name=self.name, reason=self.last_end)
        if code == NO_PORT:
            self.port = unused_port()

    def _delays(self) -> Iterator[float]:
        return _BACKOFF.delays(self._rng)


def unused_port() -> int:
    """A TCP port of loopback that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def resident_bytes(pid: int) -> int:
    """Memory that process `pid` really takes; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
