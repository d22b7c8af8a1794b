"""What all of `dos train` needs: torch, and the words that make a model again."""

from __future__ import annotations

from importlib.util import find_spec

from dos.kit.errors import PermanentError


def command_of(words: list[str]) -> str:
    """What makes the model again, without the place where it was put."""
    kept = [
        "DIR" if before == "--out" else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    return " ".join(["dos train", *kept])


def require_torch(*also: str) -> None:
    """Say what to install before minutes have gone by.

    Raises:
        PermanentError: torch is not installed.
    """
    if any(find_spec(name) is None for name in ("torch", "safetensors", *also)):
        msg = "Training needs torch."
        raise PermanentError(msg, remedy="Install it: pip install 'dependency-ops-sentinel[ml]'.")
