"""Trains the vote over statistics (`dos.detect.aspects.vote`) on series made for development.

Examples are samples of series whose anomalies were put in on purpose: the *develop* half of
`develop_set`, whose prefixes may be used for fitting, further seeds of it without any prefix, and
`kinds`. Each series counts the same, each anomaly in it the same, and healthy samples count by
their number and not by how hard they are. Nothing here reads a label of a labelled series.

The network is small (a few thousand numbers) and stopped early, since the examples are some
hundred series and the statistics already are calibrated: it only has to learn how to weigh them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dos.detect.aspects.vote import INPUTS, Weights
from dos.detect.committee import Model, inputs_of
from dos.evaluate.series.files import LabelledSeries
from dos.evaluate.series.scorers.product import MONDAY
from dos.evaluate.series.vus import main_period, stretches
from dos.kit.clock import SECOND
from dos.model.telemetry import BoolArray, Float32Array, Float64Array

_HEALTHY = 5.0
"""Weight of all healthy samples of a series against all abnormal ones."""
_SKIPPED = 50
"""Samples at the beginning of a series from which nothing is learned."""
_KNOTS = ((0.5, 0.8), (0.1, 1.8), (0.01, 3.0), (0.001, 4.0))
"""Share of healthy samples and the deviation it stands for. The engine's limit is 1.5 times the
deviation of one in a thousand, or 6: where a series is like the examples both are the same."""
_LENGTH_POWER = 0.7
"""An anomaly of n samples weighs n to the power of 0.3: long ones more, but not in proportion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How the vote is trained."""

    seed: int = 0
    units: int = 12
    """Of the hidden layer."""
    epochs: int = 5
    rate: float = 3e-3
    decay: float = 1.0
    batch: int = 2048
    each: int = 600
    """Samples of each kind (abnormal, hardest healthy, other healthy) drawn from a series."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Samples to learn from."""

    inputs: Float32Array
    """`[example, input]`."""
    label: Float32Array
    weight: Float32Array


def examples(
    series: Sequence[LabelledSeries],
    options: FitOptions,
    progress: Callable[[float], None] | None = None,
) -> Examples:
    """Draw samples of `series`; the hardest healthy ones are all among them."""
    rng = np.random.default_rng(options.seed)
    parts: list[tuple[Float32Array, Float32Array, Float32Array]] = []
    for place, one in enumerate(series):
        inputs = inputs_of(one.values, times_of(one))
        parts.append(_drawn(rng, one, inputs, options.each))
        if progress is not None:
            progress((place + 1) / len(series))
    inputs, label, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Examples(inputs=inputs, label=label, weight=weight)


def times_of(series: LabelledSeries) -> npt.NDArray[np.int64]:
    """Times of the samples, as the bench gives them."""
    return MONDAY + np.arange(len(series)) * round(series.step_s * SECOND)


def fit(
    drawn: Examples, options: FitOptions, progress: Callable[[float], None] | None = None
) -> Weights:
    """Train the network; the same arguments give the same weights on the same machine."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    inputs = torch.from_numpy(drawn.inputs)
    label = torch.from_numpy(drawn.label)
    weight = torch.from_numpy(drawn.weight / drawn.weight.mean())
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-3
    inputs = (inputs - mean) / spread
    net = _Vote(options.units)
    optimiser = torch.optim.AdamW(net.parameters(), options.rate, weight_decay=options.decay)
    steps = options.epochs * (len(inputs) // options.batch + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * options.rate, steps)
    for epoch in range(options.epochs):
        order = torch.randperm(len(inputs))
        for at in torch.split(order, options.batch):
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                net(inputs[at]), label[at], weight[at]
            )
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
        if progress is not None:
            progress((epoch + 1) / options.epochs)
    return net.weights(mean, spread)


def read_deviation(weights: Weights, healthy: Sequence[LabelledSeries], at_limit: float) -> Model:
    """Turn log-odds into deviations by how often healthy samples reach them.

    Args:
        weights: Of the network.
        healthy: Series whose samples away from anomalies are counted.
        at_limit: Share of healthy samples that may lie at the engine's limit of 6 or beyond.
    """
    odds: list[Float64Array] = []
    for one in healthy:
        near = _near(one.labels, 60 + main_period(one.values) // 2)
        near[:200] = True
        odds.append(said_of(weights, one)[~near])
    share, deviation = np.array([*_KNOTS, (at_limit, 6.0)]).T
    knots = np.quantile(np.concatenate(odds), 1.0 - share)
    return Model(weights=weights, odds=knots, deviation=deviation)


def said_of(weights: Weights, series: LabelledSeries) -> Float64Array:
    """Log-odds of each sample of a series."""
    inputs = inputs_of(series.values, times_of(series)).astype(np.float64)
    scaled = (inputs - weights.mean) / weights.spread
    inner = np.tanh(scaled @ weights.hidden.T + weights.bias)
    said: Float64Array = inner @ weights.upper + scaled @ weights.straight + weights.offset[0]
    return said


class _Vote(nn.Module):
    """See `dos.detect.aspects.vote.odds`."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(INPUTS, units)
        self.upper = nn.Linear(units, 1, bias=False)
        self.straight = nn.Linear(INPUTS, 1)
        nn.init.zeros_(self.straight.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.upper(torch.tanh(self.hidden(inputs))) + self.straight(inputs)
        return said.squeeze(1)

    def weights(self, mean: torch.Tensor, spread: torch.Tensor) -> Weights:
        """As arrays, in single precision as they were trained."""

        def array(one: torch.Tensor) -> Float64Array:
            out: Float64Array = one.detach().numpy().astype(np.float64)
            return out

        return Weights(
            mean=array(mean),
            spread=array(spread),
            hidden=array(self.hidden.weight),
            bias=array(self.hidden.bias),
            upper=array(self.upper.weight[0]),
            straight=array(self.straight.weight[0]),
            offset=array(self.straight.bias),
        )


def _drawn(
    rng: np.random.Generator, series: LabelledSeries, inputs: Float32Array, each: int
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Inputs, labels and weights of some samples of one series."""
    labels = series.labels
    first, last = stretches(labels)
    weight = np.zeros(len(series))
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        weight[begin : end + 1] = (end - begin + 1) ** -_LENGTH_POWER / len(first)
    near = _near(labels, 3) | _behind(labels, min(30, main_period(series.values) // 2))
    near[:_SKIPPED] = True
    abnormal = np.flatnonzero(labels)
    abnormal = rng.permutation(abnormal)[:each]
    healthy = np.flatnonzero(~near & ~labels)
    hardest = healthy[np.argsort(-inputs[healthy].mean(axis=1), kind="stable")][: each // 3]
    others = np.setdiff1d(healthy, hardest)
    some = rng.permutation(others)[:each]
    unit = _HEALTHY / max(1, len(healthy))
    at = np.concatenate([abnormal, hardest, some])
    share = weight[abnormal]
    weights = np.concatenate(
        [
            share / max(share.sum(), 1e-9),
            np.full(len(hardest), unit),
            np.full(len(some), unit * len(others) / max(1, len(some))),
        ]
    )
    return inputs[at], labels[at].astype(np.float32), weights.astype(np.float32)


def _near(labels: BoolArray, reach: int) -> BoolArray:
    """Labelled, or at most `reach` samples away from a label."""
    kernel = np.ones(2 * reach + 1)
    near: BoolArray = np.convolve(labels.astype(np.float64), kernel, mode="same") > 0.5
    return near if len(near) == len(labels) else near[: len(labels)]


def _behind(labels: BoolArray, reach: int) -> BoolArray:
    """At most `reach` samples after a label."""
    behind = np.cumsum(np.concatenate([np.zeros(reach), labels.astype(np.float64)]))
    out: BoolArray = (behind[reach:] - behind[: len(labels)]) > 0.5 if reach else labels.copy()
    return out
