"""Compiled code is kept beside its source, else with the user, else nowhere; it runs anyway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

LOOPS = """
import numpy as np
from dos.kit.compiled import compiled, is_kept, lean

@lean
def twice(x):
    return 2.0 * x

@compiled
def doubled(values):
    made = np.empty(len(values))
    for j in range(len(values)):
        made[j] = twice(values[j])
    return made

print(is_kept(doubled), doubled(np.arange(3.0)).tolist())
"""


def said(folder: Path, environment: Mapping[str, str]) -> str:
    """What the loops print in a process of their own."""
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", "import loops"],
        cwd=folder, env={**kept, **environment}, check=True, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the loops."""
    made = tmp_path / "installed"
    made.mkdir()
    (made / "loops.py").write_text(LOOPS)
    return made


def close(folder: Path) -> None:
    """As an installation that cannot be written is, also for those who may write everything."""
    (folder / "__pycache__").write_text("no folder")


def test_code_is_kept_beside_its_source_until_that_changes(folder: Path) -> None:
    assert said(folder, {}) == "False [0.0, 2.0, 4.0]"
    assert said(folder, {}) == "True [0.0, 2.0, 4.0]"
    assert list((folder / "__pycache__").glob("*.nbc"))
    (folder / "loops.py").write_text(LOOPS.replace("2.0 * x", "3.0 * x"))
    assert said(folder, {}) == "False [0.0, 3.0, 6.0]"


def test_where_the_installation_cannot_be_written_code_is_kept_with_the_user(
    folder: Path, tmp_path: Path
) -> None:
    close(folder)
    user = {"XDG_CACHE_HOME": str(tmp_path / "user"), "HOME": str(tmp_path)}
    assert said(folder, user) == "False [0.0, 2.0, 4.0]"
    assert said(folder, user) == "True [0.0, 2.0, 4.0]"


def test_where_nothing_can_be_written_code_runs_without_being_kept(folder: Path) -> None:
    close(folder)
    nowhere = {"XDG_CACHE_HOME": "/dev/null/cache", "HOME": "/dev/null"}
    assert said(folder, nowhere) == "False [0.0, 2.0, 4.0]"
    assert said(folder, nowhere) == "False [0.0, 2.0, 4.0]"
