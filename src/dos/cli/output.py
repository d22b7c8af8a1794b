"""How the command line speaks: consoles, one red line for an error, exit codes.

Exit codes: 0 all is well, 1 a problem was found or the command failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from dos.kit.errors import DosError

OK = 0
PROBLEM = 1
USAGE = 2
INTERRUPTED = 130

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def out() -> Console:
    """Standard output: results."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error: errors and progress."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """`text` without what could move a terminal's cursor or turn the direction of writing.

    Names come from the watched system and so from anybody. Rich markup needs no care here: what
    is printed is always a `Text`, never parsed for markup.
    """
    return _CONTROL.sub("�", text)


def parse_seconds(text: str) -> float:
    """A duration option: `90`, `90s`, `1h30m`."""
    from dos.kit.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def print_error(error: DosError) -> None:
    """One red line: what is wrong, then what to do."""
    line = Text("error: ", style="bold red")
    line.append("\n".join(plain(part) for part in error.message.splitlines()), style="red")
    if error.remedy:
        line.append(f" {plain(error.remedy)}")
    err().print(line)


class DosGroup(TyperGroup):
    """Turns `DosError` into one red line and exit code 1, unless `--debug` asks for more."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. `ctx` is the context of the click that Typer carries inside."""
        try:
            return super().invoke(ctx)
        except DosError as error:
            if ctx.params.get("debug"):
                raise
            print_error(error)
            raise typer.Exit(PROBLEM) from error
        except KeyboardInterrupt:
            err().print("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `dos … | head`
            sys.stderr.close()
            raise typer.Exit(PROBLEM) from None
