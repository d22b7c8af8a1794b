"""The catalogue of rankers tells of every ranker and each of its keys."""

from __future__ import annotations

import pytest

from dos.kit.plugins import load, names
from dos.rca.base import ROOM
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/rankers.md").read_text()


@pytest.mark.parametrize("name", names(ROOM))
def test_every_ranker_and_key_is_there(name: str) -> None:
    _, found, section = PAGE.partition(f"\n## {name}\n")
    assert found, "run docs/catalogue_rankers.py"
    section = section.partition("\n## ")[0]
    assert "Fails:" in section
    for field in load(ROOM, name).config.model_fields:
        assert f"| `{field}" in section, "run docs/catalogue_rankers.py"
