"""The sizes of DESIGN, section 4: short files, short functions. The tail is what rots."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC_LINES = 500
TEST_LINES = 800
FUNCTION_LINES = 60


def long_files(folder: Path, limit: int) -> list[str]:
    """Each Python file below `folder` with more than `limit` lines."""
    counts = {path: len(path.read_text().splitlines()) for path in sorted(folder.rglob("*.py"))}
    return [f"{path}: {count} lines" for path, count in counts.items() if count > limit]


def long_functions(folder: Path, limit: int) -> list[str]:
    """Each function below `folder` that spans more than `limit` lines, decorators left out."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > limit:
                    found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    return found


def test_source_files_are_short(root: Path) -> None:
    assert long_files(root / "src", SRC_LINES) == []


def test_test_files_are_short(root: Path) -> None:
    assert long_files(root / "tests", TEST_LINES) == []


def test_functions_are_short(root: Path) -> None:
    assert long_functions(root / "src", FUNCTION_LINES) == []


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
