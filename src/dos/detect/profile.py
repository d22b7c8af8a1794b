"""What is normal for a series by its role and unit: which side is bad, and how small is noise.

A floor for the spread keeps a series that hardly moves from alarming at its first wiggle: 0.2 %
more errors or 5 % more latency never is an incident, however steady the past was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dos.model.telemetry import Role, SeriesSpec

_ABSOLUTE_FLOOR = {"ratio": 0.01, "bytes": 2.0**16, "1/s": 0.05, "seconds": 0.001, "": 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to judge one series."""

    logarithmic: bool
    """Judge on a log scale: skewed, positive quantities such as latency."""
    relative_floor: float
    """Smallest sigma as a share of the expected value (linear scale)."""
    absolute_floor: float
    """Smallest sigma in the series' unit, or in log units on the log scale."""
    above: bool
    below: bool
    """Which sides count as abnormal."""
    certain: float = math.inf
    """Distance from the expected value, on the scale of judgement, that is abnormal whatever the
    series' own past was."""
    relative_creep: float = 0.0
    absolute_creep: float = math.inf
    """How far the level may move away from where it was for long, as a share of that (linear
    scale) and on the scale of judgement; the larger of both. Traffic may go anywhere within hours,
    and of what is unknown nobody can say; what hurts users may not."""


def profile_of(spec: SeriesSpec) -> Profile:
    """The profile of a series."""
    floor = _ABSOLUTE_FLOOR.get(spec.unit, 1e-6)
    match spec.role:
        case Role.LATENCY:
            return Profile(
                logarithmic=True,
                relative_floor=0.0,
                absolute_floor=0.05,
                above=True,
                below=False,
                certain=math.log(10),
                absolute_creep=math.log(2.5),
            )
        case Role.ERRORS:
            floor = 0.002 if spec.unit == "ratio" else floor
            return Profile(
                logarithmic=False,
                relative_floor=0.1,
                absolute_floor=floor,
                above=True,
                below=False,
                certain=0.25 if spec.unit == "ratio" else math.inf,
                relative_creep=2.0,
                absolute_creep=0.1 if spec.unit == "ratio" else 20 * floor,
            )
        case Role.SATURATION:
            return Profile(
                logarithmic=False,
                relative_floor=0.03,
                absolute_floor=floor,
                above=True,
                # A processor that shows nothing is a measurement that is blind; a disk or a memory
                # that holds less was cleaned up.
                below=spec.metric.startswith("cpu"),
                relative_creep=0.1 if spec.unit == "ratio" else 1.0,
                absolute_creep=0.3 if spec.unit == "ratio" else 20 * floor,
            )
        case Role.AVAILABILITY:
            return Profile(
                logarithmic=False,
                relative_floor=0.005,
                absolute_floor=0.002 if spec.unit == "ratio" else floor,
                above=False,
                below=True,
                certain=0.25 if spec.unit == "ratio" else math.inf,
                relative_creep=0.05,
                absolute_creep=0.15 if spec.unit == "ratio" else math.inf,
            )
        case Role.TRAFFIC | Role.OTHER:
            return Profile(
                logarithmic=False,
                relative_floor=0.04,
                absolute_floor=floor,
                above=True,
                below=True,
            )
