"""The terminal view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from dos.app.demo_types import DemoView, ViewState


class LineView:
    """Plain lines, one per event."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, state: ViewState) -> None:
        """Print what happened since the last update."""


@contextmanager
def open_view(console: Console) -> Iterator[DemoView]:
    """The view that suits the console."""
    yield LineView(console)
