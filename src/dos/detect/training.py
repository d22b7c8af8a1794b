# pyright: reportMissingImports=false
"""Training of the temporal networks, from series to a model's folder.

    clean series ─▶ examples ─▶ fit ─▶ calibration and figures on held-out series ─▶ ONNX, card

All that is random comes from one seed. `base` names a model to go on from, such as the one that
comes with DOS when one's own history is the data. Progress is reported stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from dos.detect.nets.temporal import TemporalAnalyzer
from dos.detect.temporal_examples import WindowOptions, held_out, window_examples
from dos.detect.temporal_figures import calibration, figures_of
from dos.detect.temporal_window import FEATURES, LEVELS, WINDOW
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.ml.card import MODEL, ModelCard, Training, digest_of
from dos.ml.dataset import Examples
from dos.ml.export import export, restore
from dos.ml.runtime import Served
from dos.ml.trainer import FitOptions, FitProgress, Fitted, fit, seeded
from dos.model.telemetry import Float64Array

INPUTS = ("window", "memory")
OUTPUTS = ("reconstruction", "quantiles", "anomaly", "attention")
_COMPARED = 512
"""Examples on which torch and ONNX are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network, and what it is for."""

    hidden_dim: int
    num_layers: int
    about: str


SHAPES: dict[str, Shape] = {
    "temporal": Shape(
        hidden_dim=48,
        num_layers=2,
        about="LSTM of two layers with attention over 60 samples: reconstructs, forecasts, judges",
    ),
    "temporal_fast": Shape(
        hidden_dim=32,
        num_layers=1,
        about="LSTM of one layer with attention over 60 samples: the same at a third of the cost",
    ),
}
"""Networks over windows that can be trained, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train, and how."""

    out: Path
    """Folder of the model."""
    name: str = "temporal"
    """A key of `SHAPES`."""
    windows: WindowOptions = field(default_factory=WindowOptions)
    fit: FitOptions = field(default_factory=FitOptions)
    base: Path | None = None
    """Folder of a model of the same name to go on from."""
    threads: int = 1
    """Of torch."""
    data: str = ""
    """What the series are, for the card."""
    command: str = ""
    """What makes the model again, for the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """How far a training is."""

    stage: str
    share: float
    """0 to 1, of the stage."""
    fit: FitProgress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of it."""

    card: ModelCard
    fitted: Fitted
    difference: float
    """Largest between torch and ONNX Runtime."""


def train(
    series: Sequence[Float64Array],
    options: TrainOptions,
    progress: Callable[[TrainProgress], None] | None = None,
    clock: Clock | None = None,
) -> Trained:
    """Train a network on clean series and write its folder.

    Args:
        series: Each `[n]`, evenly spaced, finite; mostly without anomalies.
        options: What and how.
        progress: Told often.
        clock: Times it; the machine's by default.

    Raises:
        PermanentError: Too little data, no such network, base or device, or nowhere to write.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    tell = progress or (lambda _: None)
    torch.set_num_threads(options.threads)
    try:
        examples, validation = window_examples(
            series,
            options.windows,
            lambda share: tell(TrainProgress(stage="windows", share=share)),
        )
    except ValueError as error:
        raise PermanentError(f"Too little to learn from: {error}.") from error
    network = network_of(options.name, options.base, options.fit.seed)
    fitted = fit(
        network,
        objective,
        examples,
        validation,
        options.fit,
        progress=lambda now: tell(TrainProgress(stage="training", share=now.share, fit=now)),
        clock=clock,
    )
    tell(TrainProgress(stage="export", share=0.0))
    card = _card(network, series, examples, fitted, options)
    example = {name: validation.columns[name][:_COMPARED] for name in INPUTS}
    difference = export(network, options.out, card, example, OUTPUTS)
    served = Served(options.out)
    kept = [series[place] for place in held_out(series, options.windows)]
    card = card.model_copy(
        update={
            "calibration": calibration(
                served, kept, lambda share: tell(TrainProgress(stage="calibration", share=share))
            ),
            "figures": {**figures_of(served, validation), "torch_onnx_difference": difference},
        }
    )
    hours = round((clock.monotonic() - began) / 3600, 3)
    card = card.model_copy(update={"training": card.training.model_copy(update={"hours": hours})})
    export(network, options.out, card, example, OUTPUTS)
    return Trained(card=Served(options.out).card, fitted=fitted, difference=difference)


def network_of(name: str, base: Path | None, seed: int) -> TemporalAnalyzer:
    """A network with fresh weights, or with those of `base`.

    Raises:
        PermanentError: There is no such network, or `base` is another.
    """
    shape = SHAPES.get(name)
    if shape is None:
        msg = f"There is no network {name!r}."
        raise PermanentError(msg, remedy=f"Use one of: {', '.join(SHAPES)}.")
    network = seeded(
        lambda: TemporalAnalyzer(hidden_dim=shape.hidden_dim, num_layers=shape.num_layers), seed
    )
    if base is not None:
        restore(network, base)
    return network


def objective(network: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the judgement, pinball loss of the forecast, error of the reconstruction.

    The truth of the last two is the clean window and the clean sample that would have followed, so
    that anomalies are neither reproduced nor continued.
    """
    said = network(batch["window"], batch["memory"])
    levels = said.quantiles.new_tensor(LEVELS)
    missed = batch["after"].unsqueeze(1) - said.quantiles
    pinball = torch.maximum(levels * missed, (levels - 1.0) * missed).mean()
    rebuilt = functional.smooth_l1_loss(said.reconstruction, batch["clean"], beta=0.5)
    judged = functional.binary_cross_entropy_with_logits(said.anomaly, batch["abnormal"])
    return judged + 2.0 * pinball + 0.5 * rebuilt


def _card(
    network: nn.Module,
    series: Sequence[Float64Array],
    examples: Examples,
    fitted: Fitted,
    options: TrainOptions,
) -> ModelCard:
    shape = SHAPES[options.name]
    return ModelCard(
        name=options.name,
        version="1",
        about=shape.about,
        shape={
            "hidden_dim": shape.hidden_dim,
            "num_layers": shape.num_layers,
            "window": WINDOW,
            "memory": FEATURES,
            "levels": len(LEVELS),
        },
        parameters=sum(one.numel() for one in network.parameters()),
        training=Training(
            command=options.command,
            data=options.data,
            series=len(series),
            examples=len(examples),
            epochs=len(fitted.validation),
            seed=options.fit.seed,
            device=options.fit.device,
            hours=0.0,
            torch=str(torch.__version__),
            base=digest_of(options.base / MODEL) if options.base is not None else None,
        ),
        figures={},
        limits=list(LIMITS),
        sha256={},
    )


LIMITS = (
    "Sees 60 samples and a thinned-out past: no time of day and no day of week.",
    "The anomalies it learned from were injected; real ones are judged in docs/benchmarks.md.",
    "One series at a time: what is unusual only together with other series is not seen.",
    "Silent during the first 60 samples of a series and after a gap of 20 steps.",
)
