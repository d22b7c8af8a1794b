"""How the testbed is: in lines for people, and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dos.kit.clock import Clock, to_datetime
from dos.simulate.testbed.children import resident_bytes
from dos.simulate.testbed.load import Seen
from dos.simulate.testbed.spec import MEBIBYTE
from dos.simulate.testbed.supervisor import Testbed

_EVERY = 5.0
"""Seconds between two lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatus:
    """One process."""

    name: str
    pid: int | None
    port: int
    ready: bool
    restarts: int
    last_end: str
    resident: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The testbed at one moment."""

    ready: bool
    seen: Seen
    total: int
    failed: int
    """Requests since the start."""
    children: tuple[ChildStatus, ...]
    faults: tuple[tuple[str, str, float], ...]
    """Kind, service and seconds left of those that run."""

    def line(self) -> str:
        """`19.8 req/s, 0.0 % failed, p95 31 ms; 9/9 up; broken: cpu_burn payment (21 s left)`."""
        up = sum(child.ready for child in self.children)
        text = (
            f"{self.seen.rate:.1f} req/s, {self.seen.failed:.1%} failed, "
            f"p95 {self.seen.p95 * 1000:.0f} ms; {up}/{len(self.children)} up"
        )
        down = [
            f"{child.name} ({child.last_end or 'starting'})"
            for child in self.children
            if not child.ready
        ]
        if down:
            text += f"; down: {', '.join(down)}"
        if self.faults:
            broken = [f"{kind} {name} ({left:.0f} s left)" for kind, name, left in self.faults]
            text += f"; broken: {', '.join(broken)}"
        return text

    def shown(self) -> dict[str, object]:
        """As JSON."""
        return {
            "ready": self.ready,
            "requests_per_second": round(self.seen.rate, 2),
            "failed_ratio": round(self.seen.failed, 4),
            "latency_p95_seconds": round(self.seen.p95, 4),
            "requests_total": self.total,
            "failed_total": self.failed,
            "processes": [
                {
                    "name": child.name,
                    "pid": child.pid,
                    "port": child.port,
                    "ready": child.ready,
                    "restarts": child.restarts,
                    "last_end": child.last_end,
                    "resident_mebibytes": round(child.resident / MEBIBYTE, 1),
                }
                for child in self.children
            ],
            "faults": [
                {"type": kind, "service": name, "seconds_left": round(left, 1)}
                for kind, name, left in self.faults
            ],
        }


def status_of(testbed: Testbed, clock: Clock) -> Status:
    """The status now."""
    now = clock.monotonic()
    return Status(
        ready=testbed.ready.is_set(),
        seen=testbed.load.recent(),
        total=testbed.load.total,
        failed=testbed.load.failed,
        children=tuple(
            ChildStatus(
                name=child.name,
                pid=child.pid,
                port=child.port,
                ready=child.ready,
                restarts=child.restarts,
                last_end=child.last_end,
                resident=resident_bytes(child.pid) if child.pid else 0,
            )
            for child in testbed.children.values()
        ),
        faults=tuple(
            (one.fault.type.value, one.fault.service, one.since + one.fault.ends_after - now)
            for one in testbed.records.running
        ),
    )


async def tell(testbed: Testbed, door: str, clock: Clock, write: Callable[[str], None]) -> None:
    """Say where things are once the testbed is ready, then how it is, until cancelled.

    Args:
        testbed: Which one.
        door: URL of its HTTP door.
        clock: The testbed's.
        write: Takes one line.
    """
    write(f"starting {len(testbed.children)} processes; logs in {testbed.options.folder}/logs")
    await testbed.ready.wait()
    for line in _places(testbed, door):
        write(line)
    while testbed.ready.is_set():
        status = status_of(testbed, clock)
        write(f"[{to_datetime(clock.now()):%H:%M:%S}] {status.line()}")
        await clock.sleep(_EVERY)


def summary(testbed: Testbed) -> list[str]:
    """What happened, once it is over."""
    load = testbed.load
    ratio = load.failed / load.total if load.total else 0.0
    lines = [f"{load.total} requests, {load.failed} failed ({ratio:.1%})"]
    for record in testbed.records.all:
        end = "end" if record.end is None else f"{to_datetime(record.end):%H:%M:%S}"
        what = f"{record.fault.type} {record.fault.service} (severity {record.fault.severity:g})"
        lines.append(f"{to_datetime(record.start):%H:%M:%S} to {end}: {what}")
    restarts = [f"{one.name} {one.restarts}" for one in testbed.children.values() if one.restarts]
    return [*lines, *([f"restarts: {', '.join(restarts)}"] if restarts else [])]


def _places(testbed: Testbed, door: str) -> list[str]:
    folder = testbed.options.folder
    lines = [
        f"targets      {door}/targets (http_sd), {folder}/targets.json (file_sd)",
        f"prometheus   configuration {folder}/prometheus.yml",
        f"break things with POST {door}/faults; {door}/status shows all processes",
    ]
    if prometheus := testbed.children.get("prometheus"):
        lines[1] = f"prometheus   http://127.0.0.1:{prometheus.port}"
    if not testbed.redis:
        lines.append("no Redis: carts are kept in the process of the cart service")
    return lines
