"""Serving of models with ONNX Runtime, on one thread and without torch.

One thread, because the engine scores shards side by side. A batch is cut into blocks of `_BLOCK`
rows, whose state fits into the cache. No row's result depends on which other rows are in the batch:
matrix products are summed in the same order for every number of rows but one, and what the widest
vector instructions do not fill is computed another way, so the last block is filled up to a
multiple of `_LANES` rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime

from dos.kit.errors import CorruptDataError
from dos.ml.card import MODEL, ModelCard, checked, find, read_card
from dos.model.telemetry import Float32Array

_errors = import_module("onnxruntime.capi.onnxruntime_pybind11_state")  # has no other name
_BLOCK = 256
_LANES = 16


class Served:
    """A model that is ready to answer.

    Args:
        model: Name of one that comes with DOS, or a folder.

    Raises:
        PermanentError: There is no such model.
        CorruptDataError: Its files are not what its card says, or no ONNX.
    """

    def __init__(self, model: str | Path) -> None:
        folder = find(str(model))
        self.card: ModelCard = read_card(folder)
        content = checked(folder, MODEL)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except (_errors.InvalidProtobuf, _errors.InvalidGraph, _errors.Fail) as error:
            raise CorruptDataError(f"{folder / MODEL} cannot be loaded: {error}") from error
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Answer a batch.

        Args:
            inputs: `[row, …]` for each of `self.inputs`.

        Returns:
            `[row, …]` for each of `self.outputs`.

        Raises:
            ValueError: An input is missing, or has another shape.
        """
        rows = len(inputs[self.inputs[0]])
        blocks = [self._block(inputs, first) for first in range(0, max(rows, 1), _BLOCK)]
        if len(blocks) == 1:
            return dict(zip(self.outputs, blocks[0], strict=True))
        joined = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
        return dict(zip(self.outputs, joined, strict=True))

    def whole(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Float32Array]:
        """Answer all at once: for networks whose rows have to do with each other.

        Args:
            inputs: Arrays for each of `self.inputs`.

        Returns:
            Arrays for each of `self.outputs`.

        Raises:
            ValueError: An input is missing, or has another shape.
        """
        return dict(zip(self.outputs, self._said(inputs), strict=True))

    def _block(self, inputs: Mapping[str, Float32Array], first: int) -> list[Float32Array]:
        block = {name: inputs[name][first : first + _BLOCK] for name in self.inputs}
        rows = len(block[self.inputs[0]])
        missing = -rows % _LANES
        if missing:
            block = {name: _filled_up(value, missing) for name, value in block.items()}
        return [one[:rows] for one in self._said(block)]

    def _said(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[Float32Array]:
        try:
            return cast(list[Float32Array], self._session.run(None, dict(inputs)))
        except _errors.InvalidArgument as error:
            raise ValueError(str(error)) from error


def _filled_up(value: Float32Array, missing: int) -> Float32Array:
    return np.concatenate([value, np.zeros((missing, *value.shape[1:]), np.float32)])
