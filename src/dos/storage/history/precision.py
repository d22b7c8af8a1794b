"""Samples are kept as float32: seven digits, half the room."""

from __future__ import annotations

import numpy as np

from dos.model.telemetry import Float32Array, Float64Array

_LARGEST = float(np.finfo(np.float32).max)


def as_float32(value: Float64Array) -> Float32Array:
    """`value` rounded; what is too large becomes the largest number there is, and stays finite."""
    narrow: Float32Array = np.minimum(np.maximum(value, -_LARGEST), _LARGEST).astype(np.float32)
    return narrow
