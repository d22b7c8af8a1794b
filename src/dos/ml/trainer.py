# pyright: reportMissingImports=false
"""Training of any network on examples: seeded, with early stopping, on CPU or GPU.

AdamW (Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019) with a short linear
warm-up and a cosine decay; gradients are clipped. After each epoch the loss on held-out examples is
taken; the best weights so far are kept, and when `patience` epochs brought nothing better, it ends.
On one machine and version of torch, equal arguments give equal weights on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.ml.dataset import Batch, Lessons

N = TypeVar("N", bound=nn.Module)
Objective = Callable[[nn.Module, Mapping[str, torch.Tensor]], torch.Tensor]
"""`(network, batch)` to the mean loss of the batch."""
_CLIP = 1.0
"""Largest norm of a gradient."""
_WARM_UP = 0.05
"""Share of the steps in which the rate rises."""
_VALIDATED = 4_096
"""Examples per batch of validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to train."""

    epochs: int = 8
    """At most."""
    batch: int = 256
    rate: float = 2e-3
    """Largest learning rate."""
    decay: float = 1e-4
    """Weight decay."""
    patience: int = 2
    """Epochs without a better validation loss after which it ends."""
    seed: int = 0
    """Of the order of the examples. Seed the network itself with `seeded`."""
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitProgress:
    """How far a training is."""

    epoch: int
    """From 1."""
    share: float
    """0 to 1, of all epochs."""
    loss: float
    """Running mean of the training loss in this epoch."""
    validation: float | None
    """Of the last whole epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a training went."""

    validation: tuple[float, ...]
    """Loss on the held-out examples after each epoch."""
    best: int
    """The epoch whose weights were kept, from 1."""
    seconds: float

    @property
    def loss(self) -> float:
        """Validation loss of the weights that were kept."""
        return self.validation[self.best - 1]


def seeded(build: Callable[[], N], seed: int) -> N:
    """A network whose initial weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fit(
    network: nn.Module,
    objective: Objective,
    train: Lessons,
    validate: Lessons,
    options: FitOptions,
    *,
    progress: Callable[[FitProgress], None] | None = None,
    clock: Clock | None = None,
) -> Fitted:
    """Train `network` in place; it ends with its best weights, on the CPU, ready to serve.

    Raises:
        PermanentError: There are no examples, no such device, or the loss is not finite.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    if not len(train) or not len(validate):
        raise PermanentError("There are no examples to train on.")
    device = _device(options.device)
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=options.decay)
    steps = math.ceil(len(train) / options.batch) * options.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: _rate(at, steps))
    rng = np.random.default_rng(options.seed)
    losses: list[float] = []
    best: dict[str, torch.Tensor] = {}
    for epoch in range(1, options.epochs + 1):
        network.train()
        seen, total = 0, 0.0
        for batch in train.batches(options.batch, rng):
            loss = objective(network, tensors(batch, device))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimiser.step()
            schedule.step()
            seen += len(batch)
            total += float(loss.detach()) * len(batch)
            if progress is not None:
                share = (epoch - 1 + seen / len(train)) / options.epochs
                before = losses[-1] if losses else None
                progress(
                    FitProgress(epoch=epoch, share=share, loss=total / seen, validation=before)
                )
        losses.append(evaluate(network, objective, validate, device))
        if not math.isfinite(losses[-1]):
            raise PermanentError("The loss is not finite.", remedy="Train with a smaller rate.")
        if losses[-1] == min(losses):
            best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        elif epoch - (int(np.argmin(losses)) + 1) >= options.patience:
            break
    network.load_state_dict(best)
    network.to("cpu").eval()
    return Fitted(
        validation=tuple(losses),
        best=int(np.argmin(losses)) + 1,
        seconds=clock.monotonic() - began,
    )


def evaluate(
    network: nn.Module, objective: Objective, examples: Lessons, device: torch.device
) -> float:
    """Mean loss on `examples`."""
    network.eval()
    total = 0.0
    with torch.no_grad():
        for batch in examples.batches(_VALIDATED):
            total += float(objective(network, tensors(batch, device))) * len(batch)
    return total / len(examples)


def tensors(examples: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The columns on a device."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(column)).to(device)
        for name, column in examples.columns.items()
    }


def _rate(step: int, steps: int) -> float:
    """Share of the largest rate: a line up, then a cosine down to a hundredth."""
    risen = max(1, round(_WARM_UP * steps))
    if step < risen:
        return (step + 1) / risen
    done = (step - risen) / max(1, steps - risen)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise PermanentError("There is no GPU that torch can use.", remedy="Use --device cpu.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise PermanentError(f"There is no device {name!r}.") from error
