"""Two formulas that the simulator stands on: the wait in a queue, and the normal distribution."""

from __future__ import annotations

import numpy as np

from dos.model.telemetry import Float64Array


def wait_for_server(
    service_time: Float64Array, servers: Float64Array, utilisation: Float64Array
) -> Float64Array:
    """Mean seconds until one of `servers` is free in M/M/c, without the service itself.

    `S ρ^(√(2(c+1)) − 1) / (c (1 − ρ))` (Sakasegawa, Annals of the Institute of Statistical
    Mathematics 29, 1977, equation 2.10). The utilisation ρ is capped at 0.98, where a real
    system's queue has become a matter of how long people wait.
    """
    busy = np.minimum(utilisation, 0.98)
    wait: Float64Array = service_time * busy ** (np.sqrt(2.0 * (servers + 1.0)) - 1.0)
    return wait / (servers * (1.0 - busy))


def normal_cdf(z: Float64Array) -> Float64Array:
    """Φ(z) within 0.00014 (Bowling et al., J. Ind. Eng. Manag. 2(1), 2009, eq. 10)."""
    return 1.0 / (1.0 + np.exp(np.clip(-z * (1.5976 + 0.07056 * z * z), -700.0, 700.0)))
