"""Makes docs/detectors.md: what each detector finds, as its own module tells it.

    python docs/catalogue.py [--output docs/detectors.md]

Text, example and parameters are those of the modules in dos/detect/detectors. What stands above
the line `MADE` is written by hand and stays.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import itertools
import re
from pathlib import Path

from pydantic import BaseModel

from dos.kit.plugins import load, names
from dos.testing.detectors import ROOM, bytes_of

PAGE = Path(__file__).parent / "detectors.md"
MADE = "<!-- from here on made by docs/catalogue.py from the modules themselves -->"


def page(before: str) -> str:
    """The whole page, given what it was."""
    written, _, _ = before.partition(MADE)
    sections = [section(name) for name in names(ROOM)]
    return written + MADE + "\n\n" + "\n".join(sections)


def section(name: str) -> str:
    """One detector: its text, its example, its parameters."""
    text = inspect.getdoc(importlib.import_module(f"{ROOM}.{name}")) or ""
    title, _, rest = text.partition("\n\n")
    plugin = load(ROOM, name)
    size = bytes_of(plugin.build(plugin.config()))
    lines = [f"## {name}", "", f"*{_flow(title)}*", ""]
    for part in rest.split("\n\n"):
        lines += [_example(part) if part.lstrip().startswith(">>>") else _flow(part), ""]
    lines += ["| parameter | default | |", "| --- | --- | --- |"]
    for field, (default, about) in parameters(plugin.config).items():
        lines.append(f"| `{field}` | `{default}` | {about} |")
    where = f"[`{name}.py`](../src/dos/detect/detectors/{name}.py)"
    lines += ["", f"{size:,} bytes of state a series with these. Source: {where}.", ""]
    return "\n".join(lines)


def parameters(config: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Default and meaning of each field, by name; the meaning is the string below it."""
    found: dict[str, tuple[str, str]] = {}
    for model in config.__mro__:
        if issubclass(model, BaseModel) and model is not BaseModel:
            found |= _fields(model)
    return found


def _fields(config: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Those that the class itself declares."""
    (tree,) = ast.parse(inspect.getsource(config)).body
    lines = tree.body if isinstance(tree, ast.ClassDef) else []
    found: dict[str, tuple[str, str]] = {}
    for field, about in itertools.pairwise(lines):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        said = about.value.value if _is_text(about) else ""  # type: ignore[attr-defined]
        default = config.model_fields[field.target.id].default
        found[field.target.id] = (str(default), _flow(str(said)))
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _flow(text: str) -> str:
    """A paragraph on one line; points of a list keep theirs."""
    joined = re.sub(r"\s*\n\s*(?!\s*\* )", " ", text.strip())
    return joined.replace("|", "\\|")


def _example(text: str) -> str:
    return "```pycon\n" + inspect.cleandoc(text) + "\n```"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.parse_args().output.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
