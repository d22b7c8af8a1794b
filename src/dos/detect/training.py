# pyright: reportMissingImports=false
"""Training of the temporal networks, from series to a model's folder.

    clean series ─▶ examples ─▶ fit ─▶ calibration and figures on held-out series ─▶ ONNX, card

All that is random comes from one seed. `base` names a model to go on from, such as the one that
comes with DOS when one's own history is the data. Progress is reported stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from dos.detect.nets.kinds import CARRIED, WINDOWED, Kind
from dos.detect.temporal_examples import WindowOptions, held_out
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.ml.card import MODEL, ModelCard, Training, digest_of, write_card
from dos.ml.dataset import Examples
from dos.ml.export import export, restore
from dos.ml.runtime import Served
from dos.ml.trainer import FitOptions, FitProgress, Fitted, fit, seeded
from dos.model.telemetry import Float64Array

_COMPARED = 512
"""Examples on which torch and ONNX are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A network that can be trained."""

    kind: Kind
    sizes: dict[str, int]
    """Arguments that build it."""
    windows: int
    """Examples that it is usually trained on: windows, or stretches of a carried one."""
    epochs: int
    batch: int
    about: str


SHAPES: dict[str, Shape] = {
    "temporal": Shape(
        kind=WINDOWED,
        sizes={"hidden_dim": 48, "num_layers": 2},
        windows=400_000,
        epochs=4,
        batch=128,
        about="LSTM of two layers with attention over 60 samples: reconstructs, forecasts, judges",
    ),
    "temporal_fast": Shape(
        kind=WINDOWED,
        sizes={"hidden_dim": 32, "num_layers": 1},
        windows=120_000,
        epochs=4,
        batch=128,
        about="LSTM of one layer with attention over 60 samples: the same at a third of the cost",
    ),
    "temporal_carried": Shape(
        kind=CARRIED,
        sizes={"hidden_dim": 64},
        windows=16_000,
        epochs=6,
        batch=32,
        about="LSTM that reads each sample once and carries its state: forecasts and judges",
    ),
}
"""Networks that can be trained, by name."""


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
    kind = shape_of(options.name).kind
    network = network_of(options.name, options.base, options.fit.seed)
    try:
        examples, validation = kind.examples(
            series, options.windows, lambda share: tell(TrainProgress(stage="windows", share=share))
        )
    except ValueError as error:
        raise PermanentError(f"Too little to learn from: {error}.") from error
    fitted = fit(
        network,
        kind.objective,
        examples,
        validation,
        options.fit,
        progress=lambda now: tell(TrainProgress(stage="training", share=now.share, fit=now)),
        clock=clock,
    )
    card = _card(network, series, examples, fitted, options)
    served, example = kind.served(network), kind.example(network, validation, _COMPARED)
    difference = export(served, options.out, card, example, kind.outputs)
    kept = [series[place] for place in held_out(series, options.windows)]
    tell(TrainProgress(stage="calibration", share=0.0))
    answers = Served(options.out)
    figures = {**kind.figures(answers, validation), "torch_onnx_difference": difference}
    line = kind.calibration(
        answers, kept, lambda share: tell(TrainProgress(stage="calibration", share=share))
    )
    hours = round((clock.monotonic() - began) / 3600, 3)
    training = card.training.model_copy(update={"hours": hours})
    card = card.model_copy(update={"calibration": line, "figures": figures, "training": training})
    return Trained(card=write_card(options.out, card), fitted=fitted, difference=difference)


def shape_of(name: str) -> Shape:
    """The network of that name.

    Raises:
        PermanentError: There is none.
    """
    shape = SHAPES.get(name)
    if shape is None:
        msg = f"There is no network {name!r}."
        raise PermanentError(msg, remedy=f"Use one of: {', '.join(SHAPES)}.")
    return shape


def network_of(name: str, base: Path | None, seed: int) -> nn.Module:
    """A network with fresh weights, or with those of the model in `base`.

    Raises:
        PermanentError: There is no such network, or `base` is another.
    """
    shape = shape_of(name)
    network = seeded(lambda: shape.kind.build(shape.sizes), seed)
    if base is not None:
        restore(shape.kind.served(network), base)
    return network


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
        shape={**shape.sizes, **shape.kind.sizes},
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
    "Sees the last samples and little of the longer past: no time of day, no day of week.",
    "The anomalies it learned from were injected; real ones are judged in docs/benchmarks.md.",
    "One series at a time: what is unusual only together with other series is not seen.",
    "Silent while a series is young, and after a long gap.",
)
