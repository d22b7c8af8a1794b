"""What services write into their logs: templates by what happens and by who writes.

The lines are in `log_templates.yaml`. Their wording depends on the runtime, as it does where each
team chooses its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from importlib import resources

import yaml

from dos.model.entity import EntityKind
from dos.simulate.world import SimulatedService


class Severity(IntEnum):
    """As OpenTelemetry numbers them."""

    INFO = 9
    WARN = 13
    ERROR = 17
    FATAL = 21


class Event(StrEnum):
    """What can be worth a line."""

    # On any day.
    REQUEST = "request"
    ROUTINE = "routine"
    STARTED = "started"
    STOPPED = "stopped"
    # Of a service about itself.
    SLOW = "slow"
    INTERNAL = "internal"
    NO_CONNECTION = "no_connection"
    NEW_CODE = "new_code"
    OVERLOADED = "overloaded"
    POOL = "pool"
    LOCK = "lock"
    STARVED = "starved"
    MEMORY = "memory"
    OUT_OF_MEMORY = "out_of_memory"
    DISK = "disk"
    DISK_FULL = "disk_full"
    RESET = "reset"
    CLOCK = "clock"
    EXPIRED = "expired"
    BEHIND = "behind"
    # Of a service about what it calls.
    TIMEOUT = "timeout"
    FAILED = "failed"
    REFUSED = "refused"
    NO_HOST = "no_host"
    CERTIFICATE = "certificate"
    RETRY = "retry"
    FALLBACK = "fallback"
    BREAKER = "breaker"
    BREAKER_OPENED = "breaker_opened"
    BREAKER_CLOSED = "breaker_closed"
    # Of a machine.
    KERNEL_OOM = "kernel_oom"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of line."""

    id: str
    severity: Severity
    text: str


class Runtime(StrEnum):
    """What a service is written in, or which product it is."""

    JAVA = "java"
    GO = "go"
    PYTHON = "python"
    NODE = "node"
    DATABASE = "database"
    CACHE = "cache"
    QUEUE = "queue"


_STORES = {
    EntityKind.DATABASE: Runtime.DATABASE,
    EntityKind.CACHE: Runtime.CACHE,
    EntityKind.QUEUE: Runtime.QUEUE,
}
_LANGUAGES = (Runtime.JAVA, Runtime.GO, Runtime.PYTHON, Runtime.NODE)


def runtime_of(service: SimulatedService) -> Runtime:
    """Always the same for the same name."""
    if service.kind in _STORES:
        return _STORES[service.kind]
    digest = hashlib.blake2b(service.name.encode(), digest_size=1).digest()
    return _LANGUAGES[digest[0] % len(_LANGUAGES)]


def _read() -> dict[tuple[Runtime, Event], tuple[Template, ...]]:
    text = resources.files("dos.simulate").joinpath("log_templates.yaml").read_text("utf-8")
    content: dict[str, dict[str, list[dict[str, str]]]] = yaml.safe_load(text)
    table = {}
    for runtime in Runtime:
        for event in Event:
            who = runtime.value if event in content[runtime] else "any"
            table[runtime, event] = tuple(
                Template(f"{who}.{event}.{number}", Severity[level.upper()], line)
                for number, one in enumerate(content[who][event], start=1)
                for level, line in one.items()
            )
    return table


TEMPLATES = _read()
"""What who writes of what; nothing where it is not worth a line."""
