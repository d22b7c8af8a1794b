"""Compiles the loops of detection before they are first needed: `python -m dos.detect.ahead`.

`make install` runs it, so that the first start does not take half a minute longer than others. Two
processes share the work: what watches every series, and what looks closely.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from multiprocessing import get_context

import numpy as np

from dos.compute.base import ColumnBatch
from dos.detect.engine import DetectConfig, DetectKernel
from dos.detect.fused import run
from dos.kit.clock import MINUTE
from dos.kit.compiled import is_kept
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Role, Series, SeriesSpec

_TIMES = 4


def exercise(config: DetectConfig) -> None:
    """Take a few samples in all ways in which they come, so that all loops are compiled."""
    kernel = DetectKernel(config)
    roles = (Role.LATENCY, Role.TRAFFIC)
    specs = [SeriesSpec(entity=EntityId("ahead"), metric=role.value, role=role) for role in roles]
    series = [Series(id=SeriesId(i), spec=spec) for i, spec in enumerate(specs)]
    state = kernel.grow(kernel.create(), series)
    row = np.arange(len(series), dtype=np.int32)
    at = MINUTE * np.arange(1, _TIMES + 1)
    value = np.ones((_TIMES, len(series)))
    kernel.step_block(state, row, at, value, history=True)
    each = np.repeat(row, 2)
    again = np.tile(at[:2] + int(at[-1]), len(series))
    kernel.step(state, ColumnBatch(row=each, timestamp=again, value=np.ones(len(each))))
    later = np.full(len(row), again.max() + MINUTE)
    kernel.step(state, ColumnBatch(row=row, timestamp=later, value=value[0]))


def is_compiled() -> bool:
    """Whether an earlier run left the loops compiled."""
    return is_kept(run)


def main(arguments: Sequence[str]) -> int:
    """Compile what the configuration by default needs; the exit status."""
    if arguments:
        print("usage: python -m dos.detect.ahead", file=sys.stderr)  # noqa: T201  a command
        return 2
    plain = DetectConfig(closely=())
    close = get_context("spawn").Process(target=exercise, args=(DetectConfig(),))
    close.start()
    exercise(plain)
    close.join()
    return 0 if close.exitcode == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
