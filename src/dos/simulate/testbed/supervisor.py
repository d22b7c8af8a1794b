"""The testbed as a whole: starts it, keeps it up, breaks it, ends it.

One event loop. Each process, the load, the memory limits and the faults have a task; all are in
one group, so that a failure of one ends all, and the end of the group ends every process. Faults
are reconciled as a cluster's state is: `Records` says what ought to be broken now, and what is
not so yet (a service that was restarted knows nothing of its fault) is made so.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random

import httpx2

from dos.kit import log
from dos.kit.clock import Clock
from dos.kit.errors import PermanentError
from dos.simulate.testbed import leash, scrape
from dos.simulate.testbed.children import Child, Launch, resident_bytes
from dos.simulate.testbed.faults import InjectedFault
from dos.simulate.testbed.load import Load
from dos.simulate.testbed.nodeagent import NodeAgent
from dos.simulate.testbed.options import Options
from dos.simulate.testbed.records import Record, Records
from dos.simulate.testbed.service import ServiceSettings
from dos.simulate.testbed.spec import GATEWAY, MEBIBYTE, REDIS, SHOP
from dos.simulate.testbed.wire import Wire

MEMORY_LIMIT = 256 * MEBIBYTE
"""Resident bytes of a service; beyond it, it is killed."""
MOST_DELAY = 0.5
"""Seconds that the way to a service takes longer at most."""
READY_WITHIN = 90.0
"""Seconds that all processes together may take to start."""
_MOST_STARTS = 3
"""Times a process may die before it was ready for the first time."""
_TICK = 0.1
"""Seconds between two looks at faults and limits."""
_log = log.get("testbed")


class Testbed:
    """A running testbed; `run` is its life.

    Args:
        options: What was chosen.
        clock: Times everything.
    """

    __test__ = False  # not a test, whatever its name begins with

    def __init__(self, options: Options, clock: Clock) -> None:
        self.options = options
        self._clock = clock
        self._token = secrets.token_urlsafe(24)
        self.records = Records(clock)
        self.load = Load(options.rate, self._rng("load"), clock)
        self.redis = options.redis and shutil.which("redis-server") is not None
        self.ready = asyncio.Event()
        """Set once everything was up and the load began."""
        self.children: dict[str, Child] = {}
        self._wires: dict[str, Wire] = {}
        self._told: dict[tuple[str, str], int] = {}
        """By fault and service: in which life (`Child.starts`) the service was told."""
        self._reconciling = asyncio.Lock()
        self._client = httpx2.AsyncClient(timeout=2.0, trust_env=False)
        self._make_children()
        pods = tuple(self.children[name] for name in self._members())
        self.agent = NodeAgent(pods, options.folder / "volumes")

    async def run(self, door: str) -> None:
        """Start everything, and keep it up until cancelled or its duration is over.

        Args:
            door: URL of the HTTP door, for the configuration of Prometheus.

        Raises:
            PermanentError: It cannot start here; says why.
        """
        self._prepare(door)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._client)
            for name in self._members():
                await stack.enter_async_context(self._open_wire(name))
            try:
                await self._live()
            except* PermanentError as errors:
                raise errors.exceptions[0] from None

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child.run()) for child in self.children.values()]
            await self._all_ready()
            tasks.append(group.create_task(self._keep()))
            tasks.append(group.create_task(self.load.run(self._wires[GATEWAY].address)))
            self.ready.set()
            await self._play()
            self.ready.clear()
            for task in tasks:
                task.cancel()

    async def inject(self, fault: InjectedFault) -> Record:
        """Break something now.

        Raises:
            ConfigError: It cannot be done to that service.
        """
        fault.check(redis=self.redis)
        record = self.records.add(fault)
        _log.info("fault", **record.shown())
        await self._reconcile()
        return record

    async def clear(self) -> None:
        """End all faults now."""
        self.records.clear()
        for name, child in self.children.items():
            if child.ready and any(service == name for _, service in self._told):
                await self._tell(child, "DELETE", None)
        self._told.clear()
        await self._reconcile()

    def targets(self) -> list[scrape.Target]:
        """What Prometheus is to scrape besides the door itself."""
        return [scrape.target(one.name, f"127.0.0.1:{self._port(one.name)}") for one in SHOP]

    # -------------------------------------------------------------------------------- the start

    def _prepare(self, door: str) -> None:
        if not leash.supported():
            msg = "The testbed needs Linux: it reads /proc and has the kernel end its processes."
            raise PermanentError(msg)
        if self.options.prometheus and shutil.which("prometheus") is None:
            msg = "There is no program `prometheus` on the PATH."
            raise PermanentError(msg, remedy="Install it, or leave out --prometheus.")
        folder = self.options.folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        text = scrape.configuration(door, self.options.scrape_interval)
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")

    def _make_children(self) -> None:
        if self.redis:
            self._add(REDIS, self._launch_redis, _answers_ping)
        for service in SHOP:
            self._add(service.name, self._launcher(service.name), self._healthy("/healthz"))
        if self.options.prometheus:
            self._add("prometheus", self._launch_prometheus, self._healthy("/-/ready"))

    def _add(
        self, name: str, launch: Callable[[int], Launch], probe: Callable[[int], Awaitable[bool]]
    ) -> None:
        self.children[name] = Child(
            name,
            launch,
            probe,
            log_file=self.options.folder / "logs" / f"{name}.log",
            clock=self._clock,
            rng=self._rng(name),
        )

    def _launcher(self, name: str) -> Callable[[int], Launch]:
        def launch(port: int) -> Launch:
            settings = ServiceSettings(
                name=name,
                port=port,
                addresses={other: wire.address for other, wire in self._wires.items()},
                token=self._token,
                folder=self.options.folder,
                seed=self.options.seed,
                trace_ratio=self.options.trace_ratio,
            )
            module = "dos.simulate.testbed.process"
            command = [sys.executable, "-m", module, leash.parent()]
            return Launch(command=command, stdin=f"{settings.model_dump_json()}\n".encode())

        return launch

    def _launch_redis(self, port: int) -> Launch:
        keep_nothing = ["--save", "", "--appendonly", "no", "--maxmemory", "32mb"]
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.options.folder)]
        return Launch(command=leash.command("redis-server", *where, *keep_nothing))

    def _launch_prometheus(self, port: int) -> Launch:
        folder = self.options.folder
        return Launch(
            command=leash.command(
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            )
        )

    async def _all_ready(self) -> None:
        deadline = self._clock.monotonic() + READY_WITHIN
        while missing := [one for one in self.children.values() if not one.ready]:
            late = self._clock.monotonic() > deadline
            for child in missing:
                if late or child.starts > _MOST_STARTS:
                    how = child.last_end or f"not ready within {READY_WITHIN:g} s"
                    msg = f"{child.name} does not start ({how}).\n{child.tail()}"
                    raise PermanentError(msg)
            await self._clock.sleep(_TICK)

    def _members(self) -> list[str]:
        return [name for name in self.children if name != "prometheus"]

    def _open_wire(self, name: str) -> Wire:
        wire = Wire(
            lambda: self._port(name),
            lambda: self.records.slowness(name) * MOST_DELAY,
            self._clock,
        )
        self._wires[name] = wire
        return wire

    # ---------------------------------------------------------------------------------- its life

    async def _play(self) -> None:
        """Let planned faults begin in time, and return when the duration is over."""
        began = self._clock.monotonic()
        for planned in sorted(self.options.faults, key=lambda one: one.at):
            await self._clock.sleep(began + planned.at - self._clock.monotonic())
            await self.inject(planned.fault)
        if self.options.duration is None:
            await asyncio.Event().wait()  # until cancelled
        else:
            await self._clock.sleep(began + self.options.duration - self._clock.monotonic())

    async def _keep(self) -> None:
        """Enforce memory limits and faults."""
        written: list[scrape.Target] = []
        while True:
            for child in self.children.values():
                if child.name in _SERVICES and resident_bytes(child.pid or 0) > MEMORY_LIMIT:
                    child.kill("OOMKilled")
            await self._reconcile()
            if (targets := self.targets()) != written:
                scrape.write_targets(self.options.folder / "targets.json", targets)
                written = targets
            await self._clock.sleep(_TICK)

    async def _reconcile(self) -> None:
        async with self._reconciling:
            self.records.expire()
            for name in self._members():
                if self.records.killed(name):
                    self.children[name].hold()
                else:
                    self.children[name].release()
            for record in self.records.running:
                if record.fault.type.inside:
                    await self._deliver(record)

    async def _deliver(self, record: Record) -> None:
        """Tell a service about a fault that it does not know of in this life."""
        child, left = self.children[record.fault.service], self.records.left(record)
        key = (record.id, child.name)
        if left is None or not child.ready or self._told.get(key) == child.starts:
            return
        life = child.starts
        if await self._tell(child, "POST", left):
            self._told[key] = life

    async def _tell(self, child: Child, method: str, fault: InjectedFault | None) -> bool:
        body = None if fault is None else fault.model_dump(mode="json")
        try:
            answer = await self._client.request(
                method,
                f"http://127.0.0.1:{child.port}/faults",
                headers={"Authorization": f"Bearer {self._token}"},
                json=body,
            )
        except httpx2.HTTPError as error:
            _log.warning("not told", service=child.name, error=repr(error))
            return False
        return answer.is_success

    # ----------------------------------------------------------------------------------- probes

    def _healthy(self, path: str) -> Callable[[int], Awaitable[bool]]:
        async def probe(port: int) -> bool:
            try:
                answer = await self._client.get(f"http://127.0.0.1:{port}{path}")
            except httpx2.HTTPError:
                return False
            return answer.is_success

        return probe

    def _port(self, name: str) -> int:
        return self.children[name].port

    def _rng(self, what: str) -> Random:
        return Random(f"{self.options.seed}/{what}")  # noqa: S311  no secret


_SERVICES = frozenset(one.name for one in SHOP)


async def _answers_ping(port: int) -> bool:
    """Whether a Redis answers on `port`."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()
