"""Texts that leave for other systems: cut to their limits, and without what cannot be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_SECRET_SHOWN = 3
"""Characters of a secret that a text may end with: so few tell nothing."""


def utf(text: str) -> str:
    """`text` without half surrogate pairs, which some senders cut a text in."""
    return text.encode(errors="replace").decode()


def clipped(text: str, most: int) -> str:
    """`text`, at most `most` characters of it."""
    text = utf(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fitted(pieces: Iterable[str], most: int) -> str:
    """`pieces` as one text of at most `most` characters; none of them is cut in two."""
    shown: list[str] = []
    length, kept = 0, 0
    for piece in pieces:
        length += len(piece)
        if length > most:
            return "".join([*shown[:kept], "…"])
        shown.append(piece)
        if length < most:
            kept = len(shown)
    return "".join(shown)


def is_web(url: str, most: int) -> bool:
    """Whether a browser can open it as a page; without `external_url` our links are paths."""
    if len(url) > most or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def without(secret: str, text: str) -> str:
    """`text` without `secret`, which others may repeat in what they answer."""
    text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    # Only the beginning of an answer is read, and it may end within the secret.
    for length in range(len(secret) - 1, _SECRET_SHOWN, -1):
        if text[-length:].lower() == secret[:length].lower():
            return f"{text[:-length]}***"
    return text
