"""The catalogue of detectors tells of every detector and each of its parameters."""

from __future__ import annotations

import pytest

from dos.kit.plugins import load, names
from dos.testing.detectors import ROOM
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/detectors.md").read_text()


@pytest.mark.parametrize("name", names(ROOM))
def test_every_detector_and_parameter_is_there(name: str) -> None:
    _, found, section = PAGE.partition(f"\n## {name}\n")
    assert found, "run docs/catalogue.py"
    section = section.partition("\n## ")[0]
    for field in load(ROOM, name).config.model_fields:
        assert f"| `{field}` |" in section, "run docs/catalogue.py"
