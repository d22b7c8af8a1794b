"""Presets: query sets for well-known exporters, one YAML file each in this package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from dos.ingest.promql.queries import Preset
from dos.kit.errors import ConfigError


@cache
def preset_names() -> tuple[str, ...]:
    """Every preset there is, sorted."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml")))


@cache
def load_preset(name: str) -> Preset:
    """The preset `name`.

    Raises:
        ConfigError: There is none of that name, or its file is wrong.
    """
    if name not in preset_names():
        msg = f"There is no Prometheus preset {name!r}."
        raise ConfigError(msg, remedy=f"Use auto or some of: {', '.join(preset_names())}.")
    text = files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Preset.model_validate(yaml.safe_load(text) | {"name": name})
    except ValidationError as error:
        msg = f"The preset {name} is wrong: {error}"
        raise ConfigError(msg) from error
