"""Makes docs/images/demo.svg: what `dos demo` shows in the middle of an incident.

    python docs/screenshot.py [--seed 7] [--at 245] [--output docs/images/demo.svg]

Runs the real demonstration at the pace of the clock and keeps the screen it draws `--at` seconds
after the start, so the picture shows what a user sees, not what somebody drew.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
from io import StringIO
from pathlib import Path

from rich.console import Console

from dos.app.demo import run_demo
from dos.app.demo_types import DemoOptions, ViewState
from dos.cli.view_screen import Screen
from dos.kit.clock import SECOND, Millis

WIDTH, HEIGHT = 112, 38


class Frame:
    """A view that keeps the screen of one moment and then ends the demonstration."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._began: Millis | None = None
        self.state: ViewState | None = None

    def update(self, state: ViewState) -> None:
        """Keep `state` when its time has come."""
        if self._began is None:
            self._began = state.now
        if self.state is None and state.now - self._began >= self._at * SECOND:
            self.state = state
            os.kill(os.getpid(), signal.SIGINT)


def _without_web_fonts(svg: str) -> str:
    """The picture with fonts of the reader's machine only: it loads nothing."""
    local = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return local.replace("Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace")


def main() -> None:
    """Run the demonstration and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--at", type=float, default=178.0, help="seconds after the start")
    parser.add_argument("--output", type=Path, default=Path("docs/images/demo.svg"))
    options = parser.parse_args()
    frame = Frame(options.at)
    run_demo(DemoOptions(seed=options.seed), frame)
    if frame.state is None:
        parser.exit(1, f"The demonstration ended before {options.at:g} s.\n")
    console = Console(
        width=WIDTH,
        height=HEIGHT,
        record=True,
        force_terminal=True,
        color_system="truecolor",
        file=StringIO(),
    )
    console.print(Screen(frame.state), end="")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    svg = console.export_svg(title="dos demo")
    options.output.write_text(_without_web_fonts(svg), "utf-8")


if __name__ == "__main__":
    main()
