"""The pages of the documentation, and what is in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(
    r"^ *```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        first = self.text.strip().splitlines()[0][:40] if self.text.strip() else ""
        return f"{self.page}: {first}"


def name(page: Path) -> str:
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """Every block in one of `languages`, page by page."""
    return [
        Block(name(page), found["language"], found["text"])
        for page in PAGES
        for found in _FENCE.finditer(page.read_text("utf-8"))
        if found["language"] in languages
    ]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line shown in a shell block: the page, and the command's words."""
    for block in blocks("bash", "sh", "console"):
        for line in _lines(block):
            for part in re.split(r"\s(?:&&|\|)\s", line):
                words = shlex.split(part, comments=True)
                if words and words[0] == "sudo":
                    words = words[3:] if words[1] == "-u" else words[1:]
                if words:
                    yield block.page, words


def _lines(block: Block) -> Iterator[str]:
    """The command lines of a block, those over several lines as one."""
    prompt = "$ " if block.language == "console" else ""
    line = ""
    for one in block.text.replace("\\\n", " ").splitlines():
        if line or one.startswith(prompt):
            line += one.removeprefix(prompt) if not line else f" {one.strip()}"
            if line.count("'") % 2 == 0 and line.count('"') % 2 == 0:
                yield line
                line = ""
