# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""Trains the vote of the committee (`dos.detect.aspects.vote`), from series to a model's folder.

    series with anomalies ─▶ samples ─▶ fit ─▶ scale ─▶ vote.npz and card.json

The networks are small (a few thousand numbers) and stopped early on series that they did not learn
from: the statistics already are calibrated, it only remains to learn how to weigh them. Several
that differ in their seed alone are averaged (Breiman, *Bagging predictors*, Machine Learning 24,
1996), which one network with the hidden units of all of them says exactly. All that is random
comes from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dos.detect.aspects.vote import INPUTS, Weights
from dos.detect.committee import VOTE, Model, inputs_of, save_model
from dos.evaluate.lessons import Lesson, LessonOptions, close_to, lessons, times_of
from dos.evaluate.series.files import LabelledSeries
from dos.evaluate.series.vus import areas, main_period
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.ml.card import ModelCard, Training, write_card
from dos.ml.dataset import Examples
from dos.ml.trainer import FitOptions, FitProgress, Fitted, fit, seeded
from dos.model.telemetry import Float64Array

_KNOTS = ((0.5, 0.8), (0.1, 1.5), (0.05, 2.0), (0.007, 3.5), (7e-4, 6.0))
"""Share of healthy samples, and the deviation it stands for. The engine's limit is 6, or more where
a series strays more often than that."""
_SETTLED = 200
"""Samples at the beginning of a series that do not count for the scale."""
_FAR = 60
"""Samples from an anomaly at which a sample counts as healthy, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteOptions:
    """What to train, and how."""

    out: Path
    """Folder of the model."""
    networks: int = 2
    """Averaged."""
    units: int = 48
    """Of the hidden layer of each."""
    lessons: LessonOptions = field(default_factory=LessonOptions)
    fit: FitOptions = field(
        default_factory=lambda: FitOptions(epochs=8, batch=2048, rate=6e-3, decay=0.3, patience=2)
    )
    data: str = ""
    """What the series are, for the card."""
    command: str = ""
    """What makes the model again, for the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteProgress:
    """How far a training is."""

    stage: str
    share: float
    """0 to 1, of the stage."""
    fit: FitProgress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedVote:
    """What came of it."""

    card: ModelCard
    fitted: Fitted
    """Of the network that the held-out series liked best."""


def train_vote(
    series: Sequence[LabelledSeries],
    options: VoteOptions,
    progress: Callable[[VoteProgress], None] | None = None,
    clock: Clock | None = None,
) -> TrainedVote:
    """Train on series with anomalies whose place is known, and write the model's folder.

    Args:
        series: At least 8, some with anomalies.
        options: What and how.
        progress: Told often.
        clock: Times it; the machine's by default.

    Raises:
        PermanentError: Too few series, or nowhere to write.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    tell = progress or (lambda _: None)
    learned = lessons(
        series, options.lessons, lambda share: tell(VoteProgress(stage="statistics", share=share))
    )
    weights, fitted = _fitted(learned, options, tell, clock)
    said = _said_of_all(
        weights, learned, lambda share: tell(VoteProgress(stage="scale", share=share))
    )
    best = min(fitted, key=lambda one: one.loss)
    card = ModelCard(
        name="vote",
        version="1",
        about="What the committee's statistics amount to: one hidden layer over their rarities",
        shape={"units": options.networks * options.units, "inputs": INPUTS},
        parameters=sum(one.size for one in weights),
        training=Training(
            command=options.command,
            data=options.data,
            series=len(series),
            examples=sum(len(one.drawn) for one in learned),
            epochs=max(len(one.validation) for one in fitted),
            seed=options.lessons.seed,
            device="cpu",
            hours=round((clock.monotonic() - began) / 3600, 3),
            torch=str(torch.__version__),
        ),
        figures=_figures(learned, said, best.loss),
        limits=list(LIMITS),
        sha256={},
    )
    save_model(scaled_model(weights, learned, said), options.out)
    return TrainedVote(card=write_card(options.out, card, (VOTE,)), fitted=best)


class Vote(nn.Module):
    """See `dos.detect.aspects.vote.odds`.

    Args:
        units: Of the hidden layer.
        mean: `[input]` to standardise with.
        spread: `[input]`.
    """

    def __init__(self, units: int, mean: Float64Array, spread: Float64Array) -> None:
        super().__init__()
        self.hidden = nn.Linear(INPUTS, units)
        self.upper = nn.Linear(units, 1, bias=False)
        self.straight = nn.Linear(INPUTS, 1)
        nn.init.zeros_(self.straight.weight)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("spread", torch.from_numpy(spread.astype(np.float32)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-odds of each row of `inputs`."""
        scaled = (inputs - self.get_buffer("mean")) / self.get_buffer("spread")
        said: torch.Tensor = self.upper(torch.tanh(self.hidden(scaled))) + self.straight(scaled)
        return said.squeeze(1)


def averaged(networks: Sequence[Vote]) -> Weights:
    """One network that says the mean of what `networks` say, which have the same scale of inputs.

    Their hidden units side by side, each with its share of the weight. In single precision, as
    they were trained.
    """

    def arrays(name: str) -> list[Float64Array]:
        every = (one.state_dict()[name] for one in networks)
        return [tensor.numpy().astype(np.float64) for tensor in every]

    return Weights(
        mean=arrays("mean")[0],
        spread=arrays("spread")[0],
        hidden=np.ascontiguousarray(np.concatenate(arrays("hidden.weight")).T),
        bias=np.concatenate(arrays("hidden.bias")),
        upper=np.concatenate([one[0] for one in arrays("upper.weight")]) / len(networks),
        straight=np.mean([one[0] for one in arrays("straight.weight")], axis=0),
        offset=np.mean(arrays("straight.bias"), axis=0),
    )


def said_of(weights: Weights, series: LabelledSeries) -> Float64Array:
    """Log-odds of each sample of a series as they count: the lesser of the last two samples'."""
    inputs = inputs_of(series.values, times_of(series)).astype(np.float64)
    standard = (inputs - weights.mean) / weights.spread
    inner = np.tanh(standard @ weights.hidden + weights.bias)
    said: Float64Array = inner @ weights.upper + standard @ weights.straight + weights.offset[0]
    lesser: Float64Array = np.minimum(said, np.concatenate([said[:1], said[:-1]]))
    return lesser


def scaled_model(
    weights: Weights, learned: Sequence[Lesson], said: Mapping[int, Float64Array]
) -> Model:
    """Turn log-odds into deviations by how often healthy samples of held-out series reach them.

    Args:
        weights: Of the network.
        learned: The series.
        said: Log-odds of each sample, by the series' place.
    """
    odds: list[Float64Array] = []
    for place, one in said.items():
        series = learned[place].series
        near = close_to(series.labels, _FAR + main_period(series.values) // 2)
        near[:_SETTLED] = True
        odds.append(one[~near])
    share, deviation = np.array(_KNOTS).T
    knots = np.quantile(np.concatenate(odds), 1.0 - share)
    return Model(weights=weights, odds=knots, deviation=deviation)


LIMITS = (
    "The anomalies it learned from were put in; real ones are judged in docs/benchmarks.md.",
    "One series at a time: what is unusual only together with other series is not seen.",
    "Silent while a series is young, and after a long gap.",
)


def _fitted(
    learned: Sequence[Lesson],
    options: VoteOptions,
    tell: Callable[[VoteProgress], None],
    clock: Clock,
) -> tuple[Weights, list[Fitted]]:
    """Train the networks one after the other."""
    kept, tried = _merged(learned, held_out=False), _merged(learned, held_out=True)
    torch.set_num_threads(1)
    inputs = kept.columns["inputs"]
    mean = inputs.mean(axis=0, dtype=np.float64)
    spread = inputs.std(axis=0, dtype=np.float64) + 1e-3
    networks: list[Vote] = []
    fitted: list[Fitted] = []
    for number in range(options.networks):
        seed = options.lessons.seed * options.networks + number
        stage = f"network {number + 1} of {options.networks}"

        def report(now: FitProgress, stage: str = stage) -> None:
            tell(VoteProgress(stage=stage, share=now.share, fit=now))

        network = seeded(lambda: Vote(options.units, mean, spread), seed)
        settings = replace(options.fit, seed=seed)
        fitted.append(fit(network, _objective, kept, tried, settings, progress=report, clock=clock))
        networks.append(network)
    return averaged(networks), fitted


def _objective(network: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(
        network(batch["inputs"]), batch["label"], batch["weight"]
    )


def _merged(learned: Sequence[Lesson], *, held_out: bool) -> Examples:
    """The samples of the held-out lessons or of the others, with weights of mean 1.

    Raises:
        PermanentError: There are none.
    """
    mine = [one.drawn for one in learned if one.held_out is held_out]
    if not mine:
        raise PermanentError("Too few series to learn from.")
    columns = {
        name: np.concatenate([one.columns[name] for one in mine]) for name in mine[0].columns
    }
    columns["weight"] /= columns["weight"].mean()
    return Examples(columns=columns)


def _said_of_all(
    weights: Weights, learned: Sequence[Lesson], progress: Callable[[float], None]
) -> dict[int, Float64Array]:
    """Log-odds of the held-out series, by place."""
    places = [place for place, one in enumerate(learned) if one.held_out]
    said: dict[int, Float64Array] = {}
    for number, place in enumerate(places):
        said[place] = said_of(weights, learned[place].series)
        progress((number + 1) / len(places))
    return said


def _figures(
    learned: Sequence[Lesson], said: Mapping[int, Float64Array], loss: float
) -> dict[str, float]:
    """How well the held-out series' anomalies stand out."""
    judged = [
        areas(learned[place].series.labels, one, main_period(learned[place].series.values))
        for place, one in said.items()
        if learned[place].series.labels.any()
    ]
    known = {
        name: [value for one in judged if (value := getattr(one, name)) is not None]
        for name in ("vus_pr", "vus_roc", "auc_pr")
    }
    return {
        "held_out_loss": loss,
        **{name: float(np.mean(values)) for name, values in known.items() if values},
    }
