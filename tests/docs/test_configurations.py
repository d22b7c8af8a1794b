"""Configurations shown in the documentation are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dos.app.settings import Settings
from dos.app.settings_load import validate
from dos.kit.yaml_source import parse
from tests.docs.pages import Block, blocks

SHOWN = [
    block
    for block in blocks("yaml")
    if set(yaml.safe_load(block.text)) <= set(Settings.model_fields) | {"data_dir"}
]
GUIDES = [block for block in SHOWN if block.page.startswith("docs/guides/")]


@pytest.mark.parametrize("block", [block for block in SHOWN if block not in GUIDES], ids=str)
def test_configurations_are_valid(block: Block, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    text = re.sub(r"_file: /\S+", f"_file: {secret}", block.text)
    validate(parse(text.encode(), block.page), {})


def test_the_readme_points_at_a_prometheus_in_five_lines() -> None:
    (block,) = [block for block in SHOWN if block.page == "README.md"]
    assert len(block.text.splitlines()) == 5
    made = validate(parse(block.text.encode(), block.page), {})
    assert [source.type for source in made.sources] == ["prometheus"]
