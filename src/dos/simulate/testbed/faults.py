"""What can be broken in the testbed, how badly and for how long: as values.

The same JSON form as the simulator's: `{"type", "service", "severity", "duration", "ramp",
"recovery"}`. On the command line a planned one is `KIND:SERVICE@START/DURATION*SEVERITY`, such as
`cpu_burn:payment@60s/30s*0.9`; in a file, a list in the form of the simulator's scenarios.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dos.kit.duration import Duration, parse_duration
from dos.kit.errors import ConfigError
from dos.simulate.testbed import spec

LONGEST = 3600.0
"""Seconds a fault may last at most."""
_MOST_BYTES = 1 << 20
_LINE = re.compile(
    r"(?P<kind>\w+):(?P<service>[\w-]+)@(?P<at>[^/*]+)/(?P<duration>[^/*]+)(?:\*(?P<severity>[\d.]+))?"
)


class FaultKind(StrEnum):
    """What really happens."""

    CPU_BURN = "cpu_burn"
    """Hashes on the event loop for a share of the time: the service computes and is slow."""
    MEMORY_GROWTH = "memory_growth"
    """Takes and touches memory until the limit, is killed for it, and goes on once restarted."""
    SLEEP = "sleep"
    """Waits before each request."""
    ERRORS = "errors"
    """Answers a share of the requests with 500."""
    KILL = "kill"
    """The process is killed (SIGKILL) and kept down."""
    DISK_FULL = "disk_full"
    """Something fills the service's database file up to its quota."""
    SLOW_DEPENDENCY = "slow_dependency"
    """The way to the service is slow for all its callers; the service itself is well."""

    @property
    def inside(self) -> bool:
        """Whether the service does it to itself, rather than the supervisor to the service."""
        return self not in {FaultKind.KILL, FaultKind.SLOW_DEPENDENCY}


class InjectedFault(BaseModel):
    """One fault of one service; body of `POST /faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: FaultKind
    service: str
    severity: float = Field(default=0.7, gt=0, le=1)
    duration: Duration = Field(default=60.0, gt=0, le=LONGEST)
    """From the trigger until it goes away or begins to."""
    ramp: Duration = Field(default=0.0, le=LONGEST)
    """From the trigger to full strength, where the kind has degrees."""
    recovery: Duration = Field(default=0.0, le=LONGEST)
    """From the end of the duration until it has gone, where the kind has degrees."""

    @property
    def ends_after(self) -> float:
        """Seconds from the trigger until nothing of it is left."""
        graded = self.type in {
            FaultKind.CPU_BURN,
            FaultKind.SLEEP,
            FaultKind.ERRORS,
            FaultKind.SLOW_DEPENDENCY,
        }
        return self.duration + (self.recovery if graded else 0.0)

    def strength(self, elapsed: float) -> float:
        """Severity `elapsed` seconds after the trigger: up the ramp, level, down; 0 to 1."""
        if not 0 <= elapsed < self.ends_after:
            return 0.0
        up = min(1.0, elapsed / self.ramp) if self.ramp else 1.0
        over = elapsed - self.duration
        down = 1.0 - over / self.recovery if over > 0 else 1.0
        return self.severity * min(up, down)

    def check(self, *, redis: bool) -> None:
        """See that there is such a service and that this can be done to it.

        Args:
            redis: Whether the testbed runs a Redis.

        Raises:
            ConfigError: It cannot; says what can.
        """
        if self.service == spec.REDIS:
            if not redis:
                msg = f"{self.type} of {self.service}: this testbed runs without a Redis."
                raise ConfigError(msg, remedy="Install redis-server, or choose another service.")
            if self.type.inside:
                msg = f"{self.type} of {self.service}: only kill and slow_dependency are possible."
                raise ConfigError(msg)
            return
        chosen = spec.service(self.service)
        if self.type is FaultKind.DISK_FULL and chosen.volume is None:
            having = ", ".join(one.name for one in spec.SHOP if one.volume is not None)
            msg = f"disk_full of {self.service}: it keeps nothing on disk."
            raise ConfigError(msg, remedy=f"Use one of: {having}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault and when it begins."""

    at: float
    """Seconds since the testbed was ready."""
    fault: InjectedFault


class _Line(BaseModel):
    """One line of a scenario file: the simulator's keys."""

    model_config = ConfigDict(extra="forbid")

    at: Duration
    fault: FaultKind
    target: str
    duration: Duration = 60.0
    severity: float = 0.7
    ramp: Duration = 0.0
    recovery: Duration = 0.0


_FILE: TypeAdapter[list[_Line]] = TypeAdapter(list[_Line])


def parse_planned(text: str) -> Planned:
    """`KIND:SERVICE@START/DURATION*SEVERITY`; the severity may be left out.

    Raises:
        ConfigError: It is not that; says what is wrong and shows an example.
    """
    found = _LINE.fullmatch(text)
    if found is None:
        msg = f"{text!r} is not KIND:SERVICE@START/DURATION."
        raise ConfigError(msg, remedy="Write for example cpu_burn:payment@60s/30s*0.9.")
    try:
        at = parse_duration(found["at"])
        fault = InjectedFault.model_validate(
            {
                "type": found["kind"],
                "service": found["service"],
                "duration": found["duration"],
                **({"severity": found["severity"]} if found["severity"] else {}),
            }
        )
    except ValidationError as error:
        msg = f"{text!r}: {first_problem(error)}"
        raise ConfigError(msg) from error
    except ValueError as error:
        msg = f"{text!r}: {error}."
        raise ConfigError(msg) from error
    return Planned(at=at, fault=fault)


def read_timeline(path: Path) -> Sequence[Planned]:
    """The faults a YAML file plans: a list with `at`, `fault`, `target` and more.

    Raises:
        ConfigError: It cannot be read, or says something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            msg = f"{path} is longer than {_MOST_BYTES} bytes."
            raise ConfigError(msg)
        lines = _FILE.validate_python(yaml.safe_load(data))
        return [
            Planned(
                at=line.at,
                fault=InjectedFault(
                    type=line.fault,
                    service=line.target,
                    **line.model_dump(include={"severity", "duration", "ramp", "recovery"}),
                ),
            )
            for line in lines
        ]
    except (OSError, yaml.YAMLError) as error:
        msg = f"{path} cannot be read: {error}."
        raise ConfigError(msg) from error
    except ValidationError as error:
        msg = f"{path}: {first_problem(error)}"
        raise ConfigError(msg) from error


def first_problem(error: ValidationError) -> str:
    """Where the first mistake is and what it is, as one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}." if where else f"{first['msg']}."
