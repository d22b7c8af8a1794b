"""A model is a folder: `model.onnx`, `card.json`, and `weights.safetensors` to go on training.

The committee's vote is a few thousand numbers, and only has `vote.npz` beside its card.

The card says what the model is, what it was trained on, how long, how well it does, and where it
does not; it holds the digests of the files beside it, and nothing is loaded that does not match.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dos.kit.errors import CorruptDataError, PermanentError

MODEL = "model.onnx"
CARD = "card.json"
WEIGHTS = "weights.safetensors"

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Training(BaseModel):
    """How a model came to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    """Makes it again."""
    data: str
    """What it was trained on, in words."""
    series: int = Field(ge=0)
    examples: int = Field(ge=0)
    epochs: int = Field(ge=0)
    """Trained; the best of them was kept."""
    seed: int
    device: str
    hours: float = Field(ge=0)
    """On the clock, data included."""
    torch: str
    """Version."""
    base: str | None = None
    """Digest of the model it was tuned from."""


class ModelCard(BaseModel):
    """What a model is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    name: str
    version: str
    """Changes with the meaning of inputs and outputs; serving refuses what it does not know."""
    about: str
    shape: dict[str, int]
    """Sizes from which the network is built again, such as `hidden_dim`."""
    parameters: int = Field(ge=1)
    training: Training
    calibration: list[tuple[float, float]] = []
    """What the network says of how much is abnormal, and how rare as much is in clean series (minus
    the natural logarithm of the share of samples): points of a rising line, smoothed as served."""
    fitted: dict[str, float] = {}
    """Numbers that serving needs beside the weights, by name, fitted on held-out examples."""
    figures: dict[str, float]
    """On examples of series that it was not trained on, by name."""
    limits: list[str]
    """What it cannot do, in words."""
    sha256: dict[str, str]
    """By file."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        PermanentError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PermanentError(f"{path}: cannot be read: {error.strerror or error}.") from error


def write_card(folder: Path, card: ModelCard, names: Sequence[str] = (MODEL, WEIGHTS)) -> ModelCard:
    """Write the card beside the files (`names`) whose digests it gets; the card with these.

    Raises:
        PermanentError: The folder cannot be written, or a file is missing.
    """
    sums = {name: digest_of(folder / name) for name in names}
    card = card.model_copy(update={"sha256": sums})
    try:
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"{folder / CARD}: cannot be written: {error.strerror or error}."
        raise PermanentError(msg) from error
    return card


def read_card(folder: Path) -> ModelCard:
    """The card of a model.

    Raises:
        PermanentError: There is none.
        CorruptDataError: It is not a card.
    """
    path = folder / CARD
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{folder} is no model: there is no readable {CARD}.") from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptDataError(f"{path}: {where}: {first['msg']}.") from error


def checked(folder: Path, name: str) -> bytes:
    """The bytes of a model's file, if they are what its card says.

    Raises:
        PermanentError: There is no card or no such file.
        CorruptDataError: The digest is another one.
    """
    wanted = read_card(folder).sha256.get(name)
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if wanted is None or hashlib.sha256(content).hexdigest() != wanted:
        msg = f"{path} is not the file that its card describes."
        raise CorruptDataError(msg, remedy="Fetch or train the model again.")
    return content


def find(name_or_folder: str) -> Path:
    """The folder of a model: one that comes with DOS, by its name, or any other by its path.

    Raises:
        PermanentError: There is none.
    """
    if _NAME.fullmatch(name_or_folder):
        own = Path(str(files("dos.ml"))) / "weights" / name_or_folder
        if own.is_dir():
            return own
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise PermanentError(f"There is no model {name_or_folder!r}.")
    return folder
