# pyright: reportMissingImports=false
"""What training has to know of each kind of network: its examples, its loss, how it is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dos.detect import temporal_figures, temporal_pace
from dos.detect.nets.carried import CarriedAnalyzer, CarriedStep
from dos.detect.nets.temporal import TemporalAnalyzer
from dos.detect.temporal_examples import WindowOptions, window_examples
from dos.detect.temporal_sequences import SETTLING, sequence_examples
from dos.detect.temporal_window import FEATURES, LEVELS, WINDOW
from dos.ml.dataset import Examples
from dos.ml.runtime import Served
from dos.ml.trainer import Objective
from dos.model.telemetry import Float32Array, Float64Array

Told = Callable[[float], None]
"""Is told the share that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of network."""

    build: Callable[[Mapping[str, int]], nn.Module]
    """From its sizes."""
    served: Callable[[nn.Module], nn.Module]
    """What is exported of a network."""
    examples: Callable[
        [Sequence[Float64Array], WindowOptions, Told | None], tuple[Examples, Examples]
    ]
    """For training and for validation."""
    objective: Objective
    example: Callable[[nn.Module, Examples, int], dict[str, Float32Array]]
    """So many inputs of what is exported, by name."""
    outputs: tuple[str, ...]
    calibration: Callable[[Served, Sequence[Float64Array], Told | None], list[tuple[float, float]]]
    figures: Callable[[Served, Examples], dict[str, float]]
    sizes: Mapping[str, int]
    """What all networks of the kind have in common."""


def windowed(network: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the judgement, pinball loss of the forecast, error of the reconstruction.

    The truth of the last two is the clean window and the clean sample that would have followed, so
    that anomalies are neither reproduced nor continued.
    """
    said = network(batch["window"], batch["memory"])
    forecast = pinball(said.quantiles, batch["after"]).mean()
    rebuilt = functional.smooth_l1_loss(said.reconstruction, batch["clean"], beta=0.5)
    judged = functional.binary_cross_entropy_with_logits(said.anomaly, batch["abnormal"])
    return judged + 2.0 * forecast + 0.5 * rebuilt


def carried(network: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The same without reconstruction, over all steps but the first of each stretch."""
    said = network(batch["steps"])
    judged = functional.binary_cross_entropy_with_logits(
        said.anomaly[:, SETTLING:], batch["abnormal"][:, SETTLING:]
    )
    forecast = pinball(said.quantiles, batch["after"])[:, SETTLING:].mean()
    return judged + forecast


def pinball(quantiles: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Koenker & Bassett's loss (1978) of `quantiles` `[…, level]`, mean over levels: `[…]`."""
    levels = quantiles.new_tensor(LEVELS)
    missed = truth.unsqueeze(-1) - quantiles
    return torch.maximum(levels * missed, (levels - 1.0) * missed).mean(dim=-1)


def _windows(network: nn.Module, examples: Examples, count: int) -> dict[str, Float32Array]:
    del network
    return {name: examples.columns[name][:count] for name in ("window", "memory")}


def _steps(network: nn.Module, examples: Examples, count: int) -> dict[str, Float32Array]:
    """Steps from the middle of stretches, in states of any kind."""
    steps = examples.columns["steps"]
    hidden = int(network.state_dict()["summary.weight"].shape[1])
    rng = np.random.default_rng(0)
    sample = steps[:count, steps.shape[1] // 2]
    state = rng.uniform(-1.0, 1.0, (len(sample), hidden)).astype(np.float32)
    return {"sample": sample, "hidden": state, "cell": 2.0 * state[::-1]}


WINDOWED = Kind(
    build=lambda sizes: TemporalAnalyzer(**sizes),
    served=lambda network: network,
    examples=window_examples,
    objective=windowed,
    example=_windows,
    outputs=("reconstruction", "quantiles", "anomaly", "attention"),
    calibration=temporal_figures.calibration,
    figures=temporal_figures.figures_of,
    sizes={"window": WINDOW, "memory": FEATURES, "levels": len(LEVELS)},
)
CARRIED = Kind(
    build=lambda sizes: CarriedAnalyzer(**sizes),
    served=lambda network: CarriedStep(cast(CarriedAnalyzer, network)),
    examples=sequence_examples,
    objective=carried,
    example=_steps,
    outputs=("quantiles", "anomaly", "hidden_out", "cell_out"),
    calibration=temporal_figures.carried_calibration,
    figures=temporal_figures.carried_figures,
    sizes={"inputs": temporal_pace.INPUTS, "levels": len(LEVELS)},
)
