"""What can be chosen about a testbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dos.simulate.testbed.faults import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """See `dos simulate testbed --help`."""

    folder: Path
    """For logs, volumes, traces and the configuration of Prometheus."""
    rate: float = 20.0
    """Requests per second from outside, on average."""
    seed: int = 0
    duration: float | None = None
    """Seconds from ready to the end; None: until stopped."""
    faults: Sequence[Planned] = ()
    redis: bool = True
    """Use a real Redis if there is one."""
    prometheus: bool = False
    """Start a real Prometheus, which has to be there."""
    scrape_interval: float = 5.0
    """Seconds; for the Prometheus configuration that is written."""
    trace_ratio: float = 0.1
