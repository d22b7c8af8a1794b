"""What `import dos` offers."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import dos

TRAINING = {name for name, module in dos._PUBLIC.items() if ".nets." in module}
"""What needs torch, which serving does not install."""


@pytest.mark.parametrize("name", sorted(dos._PUBLIC.keys() - TRAINING))
def test_public_classes_are_importable_from_the_package(name: str) -> None:
    assert getattr(dos, name) is getattr(import_module(dos._PUBLIC[name]), name)


@pytest.mark.models
@pytest.mark.parametrize("name", sorted(TRAINING))
def test_networks_are_importable_where_torch_is(name: str) -> None:
    pytest.importorskip("torch", reason="the extra `ml` is not installed")
    assert getattr(dos, name) is getattr(import_module(dos._PUBLIC[name]), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dos' has no attribute 'Nonsense'"):
        _ = dos.Nonsense


def test_importing_the_package_loads_no_room() -> None:
    program = "import dos, sys; print([m for m in sys.modules if m.startswith('dos.')])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "['dos.kit', 'dos.kit.version']"
