# pyright: reportMissingImports=false, reportUntypedBaseClass=false
"""Training of the graph network: from examples to a model's folder.

    examples ─▶ split by world ─▶ fit ─▶ calibrate ─▶ model.onnx, weights and card

What is maximised is the likelihood of the cause: a softmax over the entities of a case and "none of
these". Where several entities are right to name, their sum counts; where several things are wrong,
each counts its share. Beside it the network learns what kind of fault it is.

Afterwards one *temperature* is fitted on worlds that training has not seen, so that what is said
with 90 % is right nine times of ten (Guo et al., *On Calibration of Modern Neural Networks*, ICML
2017), and the *share* that a set of entities has to reach in order to hold the cause nine times of
ten (split conformal prediction: Sadinle, Lei & Wasserman, *Least Ambiguous Set-Valued
Classifiers*, JASA 2019).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import PermanentError
from dos.ml.card import MODEL, WEIGHTS, ModelCard, Training, digest_of, read_card, write_card
from dos.ml.export import AGREEMENT, restore
from dos.ml.runtime import Served
from dos.ml.trainer import FitOptions, FitProgress, Fitted, fit, seeded
from dos.model.telemetry import Float64Array
from dos.rca.examples import KINDS, UNKNOWN, WHOLE, Example, GraphExamples, side_by_side
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS
from dos.rca.joint import fit_joint
from dos.rca.nets.graph import DependencyGNN
from dos.rca.verdict import VERSION, Verdict, fit_share, fit_temperature

_KIND_WEIGHT = 0.15
"""What telling the kind of fault counts, against telling the entity."""
_VALIDATED, _CALIBRATED = 0.06, 0.10
"""Shares of the worlds."""
_OPSET = 18


def usual_fit() -> FitOptions:
    """How the network that comes with DOS is trained."""
    return FitOptions(epochs=8, batch=48, rate=3e-3, decay=1e-2, patience=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTraining:
    """What to train, and how."""

    out: Path
    """Folder of the model."""
    name: str = "graph"
    hidden: int = 32
    """Numbers of a head."""
    layers: int = 3
    dropout: float = 0.05
    fit: FitOptions = field(default_factory=usual_fit)
    base: Path | None = None
    """A model to go on from."""
    threads: int = 1
    data: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedGraph:
    """What came of it."""

    card: ModelCard
    fitted: Fitted


def train_graph(
    examples: Sequence[Example],
    options: GraphTraining,
    progress: Callable[[FitProgress], None] | None = None,
    clock: Clock | None = None,
    hours: float = 0.0,
) -> TrainedGraph:
    """Train a network and write its folder.

    Args:
        examples: Of many worlds; one in ten of these is kept for calibration.
        options: What, and how.
        progress: Is told how far it is.
        clock: Of the time that it takes.
        hours: That the examples took, for the card.

    Raises:
        PermanentError: There are too few worlds, or the folder cannot be written.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    torch.set_num_threads(options.threads)
    parts = split(examples)
    network = seeded(lambda: build(options), options.fit.seed)
    if options.base is not None:
        restore(network, options.base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.fit.seed)  # of what is dropped out
        fitted = fit(
            network,
            objective,
            GraphExamples(parts.train),
            GraphExamples(parts.validate),
            options.fit,
            progress=progress,
            clock=clock,
        )
    said = say(network, parts.calibrate)
    temperature = fit_temperature(said)
    verdicts = [one.at(temperature) for one in said]
    whole = [one.node for one in parts.train if one.about == WHOLE]
    joint = fit_joint(whole or [one.node for one in parts.train], said)
    card = _card(network, options, parts, fitted, hours + (clock.monotonic() - began) / 3600)
    card = card.model_copy(
        update={
            "fitted": {
                "temperature": temperature,
                "share": fit_share(verdicts),
                **joint.numbers(),
            },
            "figures": {
                "validation_loss": round(fitted.loss, 4),
                **figures_of(verdicts),
                **_under("whole_", [one for one in verdicts if one.example.about == WHOLE]),
                **_under("fused_", [joint.on(one) for one in said]),
            },
        }
    )
    _export(network, options.out, card, parts.calibrate[:64])
    return TrainedGraph(card=read_card(options.out), fitted=fitted)


def _under(prefix: str, verdicts: list[Verdict]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in figures_of(verdicts).items()}


def _card(
    network: nn.Module, options: GraphTraining, parts: Parts, fitted: Fitted, hours: float
) -> ModelCard:
    """All but what calibration says."""
    return ModelCard(
        name=options.name,
        version=VERSION,
        about="GATv2 network that ranks the entities of an incident by how probably they caused "
        "it, and tells the kind of fault.",
        shape={
            "hidden_dim": options.hidden,
            "layers": options.layers,
            "node_inputs": len(NODE_INPUTS),
            "edge_inputs": len(EDGE_INPUTS),
            "kinds": len(KINDS),
        },
        parameters=sum(one.numel() for one in network.parameters()),
        training=Training(
            command=options.command,
            data=options.data,
            series=len({one.group for one in parts.train}),
            examples=len(parts.train),
            epochs=len(fitted.validation),
            seed=options.fit.seed,
            device=options.fit.device,
            hours=round(hours, 3),
            torch=str(torch.__version__),
            base=None if options.base is None else digest_of(options.base / MODEL),
        ),
        figures={},
        limits=[
            "Learned from simulated systems: on others it is less sure than it says.",
            "Told of metrics by kind, not by what they mean in a system.",
        ],
        sha256={},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A split by groups."""

    train: tuple[Example, ...]
    validate: tuple[Example, ...]
    calibrate: tuple[Example, ...]


def split(examples: Sequence[Example]) -> Parts:
    """By worlds: the last are for calibration, those before them for validation.

    Raises:
        PermanentError: There are fewer than three worlds.
    """
    groups = sorted({one.group for one in examples})
    if len(groups) < 3:
        msg = f"Training needs incidents of at least 3 worlds, not {len(groups)}."
        raise PermanentError(msg)
    calibrated = max(1, round(_CALIBRATED * len(groups)))
    validated = max(1, round(_VALIDATED * len(groups)))
    last = set(groups[-calibrated:])
    middle = set(groups[-calibrated - validated : -calibrated])
    return Parts(
        train=tuple(one for one in examples if one.group not in last | middle),
        validate=tuple(one for one in examples if one.group in middle),
        calibrate=tuple(one for one in examples if one.group in last),
    )


def build(options: GraphTraining) -> DependencyGNN:
    """A network that has learned nothing yet."""
    return DependencyGNN(
        len(NODE_INPUTS),
        options.hidden,
        1 + len(KINDS),
        edge_dim=len(EDGE_INPUTS),
        layers=options.layers,
        dropout=options.dropout,
    )


def objective(network: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean loss of a batch (`GraphBatch.columns`)."""
    case, none, cases = batch["case"], batch["none"], len(batch["none"])
    said = network(batch["node"], batch["edges"], batch["edge"], case, cases)
    entity, kinds = said.entity[:, 0], said.entity[:, 1:]
    whole = torch.logaddexp(_sums(entity, case, cases), said.none)
    loss = (none * (whole - said.none)).sum()
    if len(batch["named"]):
        named, cause = batch["named"], batch["named_cause"]
        right = _sums(entity[named], cause, len(batch["cause_case"]))
        missed = whole[batch["cause_case"]] - right
        loss = loss + (batch["cause_weight"] * missed).sum()
        wanted = batch["cause_kind"][cause]
        if bool((wanted != UNKNOWN).any()):
            kind = functional.cross_entropy(kinds[named], wanted, ignore_index=UNKNOWN)
            loss = loss + _KIND_WEIGHT * cases * kind
    mean: torch.Tensor = loss / cases
    return mean


def _sums(value: torch.Tensor, place: torch.Tensor, count: int) -> torch.Tensor:
    """`[count]` logarithm of the sum of the exponentials of each place."""
    greatest = value.new_full((count,), -1e9).scatter_reduce(0, place, value.detach(), "amax")
    total = value.new_zeros(count).index_add(0, place, torch.exp(value - greatest[place]))
    return greatest + torch.log(total)


def say(network: nn.Module, examples: Sequence[Example]) -> list[Verdict]:
    """What a network says of each example, beside the truth."""
    network.eval()
    out = []
    with torch.no_grad():
        for one in examples:
            inputs = side_by_side([one]).columns
            said = network(*(torch.from_numpy(inputs[name]) for name in ("node", "edges", "edge")))
            out.append(Verdict(example=one, entity=_double(said.entity), none=float(said.none[0])))
    return out


def _double(value: torch.Tensor) -> Float64Array:
    out: Float64Array = value.numpy().astype(np.float64)
    return out


def figures_of(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """What is worth knowing of verdicts on worlds that were not trained on."""
    single = [one for one in verdicts if one.known == 1]
    paired = [one for one in verdicts if one.known > 1]
    harmless = [one for one in verdicts if one.known == 0]
    figures = {
        "first": _mean([one.place == 1 for one in single]),
        "first_three": _mean([one.place <= 3 for one in single]),
        "both_in_three": _mean([one.all_within(3) for one in paired]),
        "harmless_not_blamed": _mean([one.abstains for one in harmless]),
        "kind": _mean([one.kind_is_right for one in single]),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else 0.0


def _export(
    network: DependencyGNN, folder: Path, card: ModelCard, examples: Sequence[Example]
) -> None:
    """Write the folder, and compare what torch and ONNX Runtime say of `examples`.

    Raises:
        PermanentError: It cannot be written, or they do not agree.
    """
    network.eval()
    first = side_by_side([max(examples, key=lambda one: one.edges.shape[1])]).columns
    inputs = {name: first[name] for name in ("node", "edges", "edge")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # As in dos.ml.export: the exporter that traces is called old.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                tuple(torch.from_numpy(one) for one in inputs.values()),
                str(folder / MODEL),
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=["entity", "none"],
                dynamic_axes={
                    "node": {0: "entity"},
                    "edges": {1: "edge"},
                    "edge": {0: "edge"},
                    "entity": {0: "entity"},
                },
            )
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
    except OSError as error:
        raise PermanentError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    write_card(folder, card)
    served = Served(folder)
    for verdict in say(network, examples):
        columns = side_by_side([verdict.example]).columns
        said = served.whole({name: columns[name] for name in inputs})
        off = np.abs(said["entity"] - verdict.entity) / np.maximum(np.abs(verdict.entity), 1.0)
        if not float(off.max(initial=0.0)) <= AGREEMENT:
            raise PermanentError(f"{folder}: torch and ONNX differ by {off.max():.1e}.")
