"""Random streams: one per service, so that what happens to one never shifts another's dice.

Every stream yields the same number of draws per tick whatever the state of the world. A run with
a fault and a run without one therefore differ only where the fault reaches, and a service added
to a world leaves the others' noise as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from dos.model.telemetry import Float64Array

NORMALS = 12
"""Standard normal draws for each service and tick."""
UNIFORMS = 3
"""Uniform draws in [0, 1) for each service and tick."""
_BLOCK_VALUES = 1 << 20
"""Draws held ahead at most, over all services (8 MiB)."""


class Noise:
    """Draws for each service, tick by tick, made in blocks because a call costs more than a draw.

    The block length does not show in the values: each stream is read in order.
    """

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._normal_streams = [_stream(name, seed, "normal") for name in names]
        self._uniform_streams = [_stream(name, seed, "uniform") for name in names]
        self._length = max(1, min(512, _BLOCK_VALUES // (NORMALS * max(1, len(names)))))
        self._normals = np.empty((0, NORMALS, len(names)))
        self._uniforms = np.empty((0, UNIFORMS, len(names)))
        self._next = 0

    def tick(self) -> tuple[Float64Array, Float64Array]:
        """Normals `[NORMALS, service]` and uniforms `[UNIFORMS, service]` of the next tick."""
        if self._next >= len(self._normals):
            self._refill()
        row = self._next
        self._next += 1
        return self._normals[row], self._uniforms[row]

    def _refill(self) -> None:
        length = self._length
        normals = [stream.standard_normal((length, NORMALS)) for stream in self._normal_streams]
        uniforms = [stream.random((length, UNIFORMS)) for stream in self._uniform_streams]
        self._normals = np.ascontiguousarray(np.stack(normals, axis=2))
        self._uniforms = np.ascontiguousarray(np.stack(uniforms, axis=2))
        self._next = 0


def _stream(name: str, seed: int, purpose: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
