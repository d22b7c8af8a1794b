# pyright: reportMissingImports=false
"""Export of a trained network to ONNX, and the proof that both say the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save_file
from torch import nn

from dos.kit.errors import PermanentError
from dos.ml.card import MODEL, WEIGHTS, ModelCard, checked, write_card
from dos.ml.runtime import Served
from dos.model.telemetry import Float32Array

AGREEMENT = 1e-5
"""Largest difference between what torch and ONNX Runtime say."""
_OPSET = 17


def export(
    network: nn.Module,
    folder: Path,
    card: ModelCard,
    example: Mapping[str, Float32Array],
    outputs: Sequence[str],
) -> float:
    """Write a model's folder, and compare.

    Args:
        network: Trained; its inputs in the order of `example`, its outputs in that of `outputs`.
        folder: Made if it is missing.
        card: Gets the digests.
        example: Inputs `[row, …]`, many and varied: on these torch and ONNX have to agree.
        outputs: Their names.

    Returns:
        The largest difference, absolute where values are below 1 and relative above.

    Raises:
        PermanentError: The folder cannot be written, or torch and ONNX do not agree.
    """
    network.eval()
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(one)) for one in example.values())
    names = [*example, *outputs]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # The exporter that traces is called old, but writes an LSTM as one operator, which
            # runs twice as fast as the unrolled one.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                tuple(one[:4] for one in inputs),
                str(folder / MODEL),
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(example),
                output_names=list(outputs),
                dynamic_axes={name: {0: "row"} for name in names},
            )
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
    except OSError as error:
        raise PermanentError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    write_card(folder, card)
    with torch.no_grad():
        said = network(*inputs)
    expected = [said] if isinstance(said, torch.Tensor) else list(said)
    answered = Served(folder).run(example)
    worst = max(
        _difference(one.numpy(), answered[name])
        for one, name in zip(expected, outputs, strict=True)
    )
    if not worst <= AGREEMENT:
        raise PermanentError(f"{folder}: torch and ONNX differ by {worst:.1e}.")
    return worst


def restore(network: nn.Module, folder: Path) -> None:
    """Give `network` the weights of a model's folder.

    Raises:
        PermanentError: There are none, or they are of another network.
        CorruptDataError: They are not what the card says.
    """
    try:
        network.load_state_dict(load(checked(folder, WEIGHTS)))
    except RuntimeError as error:
        raise PermanentError(f"{folder / WEIGHTS}: weights of another network.") from error


def _difference(ours: Float32Array, theirs: Float32Array) -> float:
    return float((np.abs(ours - theirs) / np.maximum(np.abs(ours), 1.0)).max(initial=0.0))
