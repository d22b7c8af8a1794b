"""Each contract of `[tool.importlinter]` holds for the house, and is broken here on purpose.

The violations are planted in a small package of the same name and shape, so that they prove the
contracts themselves, whatever rooms the real package has so far.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = [
    "__main__", "cli.main", "evaluate.replay", "app.wiring",
    "api.app", "simulate.source", "testing.fakes",
    "ingest.base", "ingest.supervise",
    "ingest.sources.prometheus", "ingest.sources.kubernetes.watch",
    "topology.base", "topology.evidence.traces", "topology.evidence.mesh",
    "detect.base", "detect.engine", "detect.training", "detect.nets.lstm",
    "detect.detectors.mad", "detect.detectors.spot",
    "rca.base", "rca.rankers.walk", "rca.rankers.counterfactual",
    "impact.assess", "incidents.lifecycle",
    "alerting.rules", "alerting.dispatch", "alerting.notifiers.slack", "alerting.notifiers.email",
    "remediate.engine", "remediate.actions.restart", "remediate.actions.scale",
    "storage.base", "storage.memory", "storage.sql.repositories",
    "bus.base", "bus.memory", "bus.redis", "compute.base", "compute.local", "compute.cluster",
    "ml.trainer", "model.entity", "model.graph", "kit.clock", "kit.errors",
]  # fmt: skip
"""The modules of a small house; folders become packages."""


@dataclass(frozen=True)
class Violation:
    """An import that must not be, and the contract that says so."""

    importer: str
    line: str
    contract: str
    also: str | None = None
    """A second line, for a cycle: `module: import`."""


LAYERS = "Layers import downwards only"
INDEPENDENT = "Plugins do not import each other"
BY_NAME = "Plugins are imported by name only"
NARROW = "Plugins know no engines, storage, bus or compute"
ADAPTERS = "Only app and testing choose adapters"
TORCH = "torch only where networks are defined and trained"
FASTAPI = "fastapi only in api"
SQLALCHEMY = "sqlalchemy only in storage.sql"
SIBLINGS = "Packages of one folder form no cycle"
MODULES = "Modules form no cycle"

VIOLATIONS = [
    # 1. Layers: one step up from each of them, and sideways within each.
    Violation("dos.evaluate.replay", "import dos.cli.main", LAYERS),
    Violation("dos.app.wiring", "import dos.evaluate.replay", LAYERS),
    Violation("dos.api.app", "import dos.app.wiring", LAYERS),
    Violation("dos.api.app", "from dos.simulate import source", LAYERS),
    Violation("dos.testing.fakes", "import dos.api.app", LAYERS),
    Violation("dos.detect.base", "import dos.testing.fakes", LAYERS),
    Violation("dos.detect.base", "import dos.topology.base", LAYERS),
    Violation("dos.alerting.rules", "import dos.incidents.lifecycle", LAYERS),
    Violation("dos.remediate.engine", "import dos.impact.assess", LAYERS),
    Violation("dos.storage.base", "import dos.detect.base", LAYERS),
    Violation("dos.bus.base", "import dos.storage.base", LAYERS),
    Violation("dos.compute.base", "def later():\n    import dos.ml.trainer", LAYERS),
    Violation("dos.model.graph", "import dos.storage.base", LAYERS),
    Violation("dos.kit.clock", "from dos.model.entity import Entity", LAYERS),
    # An upward import through the front door is an upward import.
    Violation("dos.kit.clock", "import dos", LAYERS, also="dos: import dos.model.entity"),
    # 2. Plugins.
    Violation("dos.detect.detectors.mad", "import dos.detect.detectors.spot", INDEPENDENT),
    Violation("dos.rca.rankers.walk", "import dos.rca.rankers.counterfactual", INDEPENDENT),
    Violation("dos.topology.evidence.mesh", "import dos.topology.evidence.traces", INDEPENDENT),
    Violation("dos.detect.base", "import dos.detect.detectors.mad", BY_NAME),
    Violation("dos.detect.detectors", "from dos.detect.detectors import mad", BY_NAME),
    Violation("dos.app.wiring", "import dos.ingest.sources.kubernetes.watch", BY_NAME),
    Violation("dos.testing.fakes", "import dos.alerting.notifiers.slack", BY_NAME),
    Violation("dos.ingest.sources.prometheus", "import dos.storage.base", NARROW),
    Violation("dos.ingest.sources.kubernetes.watch", "import dos.bus.base", NARROW),
    Violation("dos.detect.detectors.mad", "import dos.detect.engine", NARROW),
    Violation("dos.rca.rankers.walk", "import dos.compute.base", NARROW),
    Violation("dos.remediate.actions.scale", "import dos.remediate.engine", NARROW),
    Violation("dos.alerting.notifiers.email", "import dos.alerting.dispatch", NARROW),
    Violation(
        "dos.ingest.sources.prometheus",
        "import dos.ingest.base",
        NARROW,
        also="dos.ingest.base: import dos.ingest.supervise",
    ),
    # 3. Adapters.
    Violation("dos.api.app", "import dos.storage.memory", ADAPTERS),
    Violation("dos.evaluate.replay", "import dos.storage.sql.repositories", ADAPTERS),
    Violation("dos.detect.engine", "import dos.compute.cluster", ADAPTERS),
    Violation("dos.alerting.dispatch", "import dos.bus.redis", ADAPTERS),
    Violation("dos.bus", "import dos.bus.memory", ADAPTERS),
    Violation("dos.storage.base", "import dos.storage.memory", ADAPTERS),
    # 4. Libraries with one home.
    Violation("dos.detect.engine", "import torch", TORCH),
    Violation("dos.detect.detectors.spot", "from torch import nn", TORCH),
    Violation("dos.rca.base", "def later():\n    import torch_geometric.nn", TORCH),
    Violation("dos.simulate.source", "from fastapi import FastAPI", FASTAPI),
    Violation("dos.app.wiring", "import fastapi.responses", FASTAPI),
    Violation("dos.storage.memory", "import sqlalchemy.orm", SQLALCHEMY),
    Violation("dos.app.wiring", "from alembic import command", SQLALCHEMY),
    # 5. Cycles.
    Violation(
        "dos.storage.sql.repositories",
        "import dos.storage.memory",
        SIBLINGS,
        also="dos.storage.memory: import dos.storage.sql",
    ),
    Violation(
        "dos.model",
        "from dos.model.entity import Entity",
        MODULES,
        also="dos.model.entity: import dos.model",
    ),
]

PERMITTED = [
    Violation("dos.cli.main", "import dos.app.wiring", ""),
    Violation("dos", "from dos.alerting.notifiers.slack import Slack", ""),
    Violation("dos.app.wiring", "import dos.storage.sql.repositories, dos.bus.redis", ""),
    Violation("dos.testing.fakes", "import dos.storage.memory, dos.compute.local", ""),
    Violation("dos.detect.engine", "import dos.compute.base, dos.storage.base", ""),
    Violation("dos.detect.nets.lstm", "import torch", ""),
    Violation("dos.detect.training", "import torch", ""),
    Violation("dos.ml.trainer", "import torch_geometric", ""),
    Violation("dos.api.app", "import fastapi", ""),
    Violation("dos.storage.sql.repositories", "import sqlalchemy, dos.storage.memory", ""),
    Violation("dos.ingest.sources.kubernetes.watch", "import dos.ingest.base", ""),
    Violation("dos.ingest.sources.kubernetes", "import dos.ingest.sources.kubernetes.watch", ""),
]


def lint(folder: Path) -> dict[str, bool]:
    """Run `lint-imports` in `folder`: whether each contract was kept."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    run = subprocess.run(
        [*command, "--no-logo", "--no-cache"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", run.stdout, re.MULTILINE))
    kept = {name: verdict == "KEPT" for name, verdict in verdicts.items()}
    assert set(kept) == contract_names(), run.stdout + run.stderr
    assert run.returncode == (0 if all(kept.values()) else 1), run.stdout + run.stderr
    return kept


def contract_names() -> set[str]:
    return {contract["name"] for contract in _configuration()["contracts"]}


def _configuration() -> dict[str, list[dict[str, str]]]:
    text = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    linter: dict[str, list[dict[str, str]]] = tomllib.loads(text)["tool"]["importlinter"]
    return linter


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Path:
    """A package `dos` of empty modules under the real contracts."""
    shutil.copy(root / "pyproject.toml", tmp_path)
    (tmp_path / "tests/architecture").mkdir(parents=True)
    shutil.copy(root / "tests/architecture/contracts.py", tmp_path / "tests/architecture")
    for name in HOUSE:
        module = tmp_path / "dos" / Path(*name.split("."))
        module.parent.mkdir(parents=True, exist_ok=True)
        module.with_suffix(".py").touch()
    for folder in [tmp_path / "dos", *(tmp_path / "dos").rglob("*")]:
        if folder.is_dir():
            (folder / "__init__.py").touch()
    return tmp_path


def plant(house: Path, violation: Violation) -> None:
    lines = [(violation.importer, violation.line)]
    if violation.also:
        importer, _, line = violation.also.partition(": ")
        lines.append((importer, line))
    for importer, line in lines:
        path = house.joinpath(*importer.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        path.write_text(path.read_text() + line + "\n")


def test_the_real_house_keeps_every_contract(root: Path) -> None:
    assert all(lint(root).values())


def test_every_contract_is_broken_by_some_violation() -> None:
    assert {violation.contract for violation in VIOLATIONS} == contract_names()


@pytest.mark.parametrize(
    "violation", VIOLATIONS, ids=lambda v: f"{v.importer}: {v.line}".replace("\n", " ")
)
def test_a_violation_breaks_exactly_its_contract(house: Path, violation: Violation) -> None:
    plant(house, violation)
    broken = [name for name, kept in lint(house).items() if not kept]
    assert broken == [violation.contract]


def test_what_is_permitted_breaks_nothing(house: Path) -> None:
    for permitted in PERMITTED:
        plant(house, permitted)
    assert all(lint(house).values())


def test_a_room_that_no_layer_names_is_reported(house: Path) -> None:
    (house / "dos/utils.py").touch()
    broken = [name for name, kept in lint(house).items() if not kept]
    assert broken == [LAYERS]
