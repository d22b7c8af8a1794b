"""Makes docs/rankers.md: what each ranker goes by, as its own module tells it.

    python docs/catalogue_rankers.py [--output docs/rankers.md]

Text, example and keys are those of the modules in dos/rca/rankers. What stands above the line
`MADE` is written by hand and stays.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from pathlib import Path

from pydantic import BaseModel

from dos.kit.plugins import load, names
from dos.rca.base import ROOM

PAGE = Path(__file__).parent / "rankers.md"
MADE = "<!-- from here on made by docs/catalogue_rankers.py from the modules themselves -->"


def page(before: str) -> str:
    """The whole page, given what it was."""
    written, _, _ = before.partition(MADE)
    sections = [section(name) for name in names(ROOM)]
    return written + MADE + "\n\n" + "\n".join(sections)


def section(name: str) -> str:
    """One ranker: its text, its example, its keys."""
    text = inspect.getdoc(importlib.import_module(f"{ROOM}.{name}")) or ""
    title, _, rest = text.partition("\n\n")
    lines = [f"## {name}", "", f"*{_flow(title)}*", ""]
    for part in rest.split("\n\n"):
        lines += [_part(part), ""]
    lines += ["| key | default | |", "| --- | --- | --- |"]
    lines += [f"| `{key}` | {default} | {about} |" for key, default, about in keys(name)]
    where = f"[`{name}.py`](../src/dos/rca/rankers/{name}.py)"
    lines += ["", f"Source: {where}.", ""]
    return "\n".join(lines)


def keys(name: str) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each key; those of a section in it as `section.key`."""
    return _of_model(load(ROOM, name).config, "")


def _of_model(config: type[BaseModel], before: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for key, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            found += _of_model(type(default), f"{before}{key}.")
        else:
            shown = "" if field.is_required() else f"`{default}`"
            found.append((f"{before}{key}", shown, _flow(field.description or "")))
    return found


def _part(text: str) -> str:
    """A paragraph, a list, or an example as code."""
    if text.lstrip().startswith(">>>"):
        return "```pycon\n" + inspect.cleandoc(text) + "\n```"
    if text.startswith("* "):
        return "\n".join(_flow(point) for point in re.split(r"\n(?=\* )", text))
    return _flow(text)


def _flow(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text.strip()).replace("|", "\\|")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.parse_args().output.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
