"""The sizes of DESIGN, section 4: short files, short functions. The tail is what rots."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

SRC_LINES = 500
TEST_LINES = 800
FUNCTION_LINES = 60
LONGER: Mapping[tuple[str, str], tuple[int, str]] = MappingProxyType({})
"""Functions that may be longer than the others: by path below src and name, their lines at most and
the reason."""


def long_files(folder: Path, limit: int) -> list[str]:
    """Each Python file below `folder` with more than `limit` lines."""
    counts = {path: len(path.read_text().splitlines()) for path in sorted(folder.rglob("*.py"))}
    return [f"{path}: {count} lines" for path, count in counts.items() if count > limit]


def long_functions(
    folder: Path,
    limit: int,
    longer: Mapping[tuple[str, str], tuple[int, str]] = MappingProxyType({}),
) -> list[str]:
    """Each function below `folder` that spans more than `limit` lines, decorators left out.

    `longer` has limits, with their reasons, of single functions by path and name. One that is
    not needed, because there is no function of that name and more than `limit` lines, is told.
    """
    found = []
    needed = set()
    for path in sorted(folder.rglob("*.py")):
        below = str(path.relative_to(folder))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                most, _ = longer.get((below, node.name), (limit, ""))
                if lines > limit:
                    needed.add((below, node.name))
                if lines > most:
                    found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    unused = sorted(set(longer) - needed)
    return [*found, *(f"{folder / path}: {name} needs no exception" for path, name in unused)]


def test_source_files_are_short(root: Path) -> None:
    assert long_files(root / "src", SRC_LINES) == []


def test_test_files_are_short(root: Path) -> None:
    assert long_files(root / "tests", TEST_LINES) == []


def test_functions_are_short(root: Path) -> None:
    assert long_functions(root / "src", FUNCTION_LINES, LONGER) == []


@pytest.fixture
def sprawl(tmp_path: Path) -> Path:
    body = "    x = 1\n" * 60
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested/long.py").write_text(
        f"class C:\n async def f(self):\n{body}\n\ndef g(): ...\n"
    )
    return tmp_path


def test_a_long_file_is_found(sprawl: Path) -> None:
    assert long_files(sprawl, 65) == []
    assert long_files(sprawl, 64) == [f"{sprawl}/nested/long.py: 65 lines"]


def test_a_long_function_is_found(sprawl: Path) -> None:
    assert long_functions(sprawl, 61) == []
    assert long_functions(sprawl, 60) == [f"{sprawl}/nested/long.py:2: f has 61 lines"]


def test_an_exception_has_a_limit_and_is_needed(sprawl: Path) -> None:
    where = ("nested/long.py", "f")
    assert long_functions(sprawl, 60, {where: (61, "a reason")}) == []
    assert long_functions(sprawl, 50, {where: (60, "a reason")}) == [
        f"{sprawl}/nested/long.py:2: f has 61 lines"
    ]
    assert long_functions(sprawl, 61, {where: (70, "a reason")}) == [
        f"{sprawl}/nested/long.py: f needs no exception"
    ]
