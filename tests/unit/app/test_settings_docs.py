"""The example, the reference and the schema are made from the models, complete and current."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import jsonschema
import pytest

from dos.alerting.base import ROOM as NOTIFIERS
from dos.app.settings import RankerSettings, Settings, SourceSettings
from dos.app.settings_example import example
from dos.app.settings_keys import Key, PluginKeys, plugin_keys, settings_keys
from dos.app.settings_load import SettingsError, validate
from dos.app.settings_reference import reference
from dos.app.settings_schema import json_schema
from dos.detect.engine import ROOM as DETECTORS
from dos.kit.yaml_source import Location, Value, parse

ROOT = Path(__file__).parents[3]
UNCOMMENTED = re.sub(r"(?m)^(\s*)#(?![ \n])", r"\1", example())


def paths(keys: Iterable[Key], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key in keys:
        yield (*prefix, key.name)
        yield from paths(key.keys, (*prefix, key.name))


def written(value: Value, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all keys in data; list items share the path of their list."""
    if isinstance(value, list):
        for item in value:
            yield from written(item, prefix)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*prefix, key)
            yield from written(inner, (*prefix, key))


def test_the_example_in_the_repository_is_current() -> None:
    shown = (ROOT / "config.example.yaml").read_text("utf-8")
    assert shown == example(), "run: dos config example > config.example.yaml"


def test_the_reference_in_the_docs_is_current() -> None:
    shown = (ROOT / "docs/configuration.md").read_text("utf-8")
    assert shown == reference(), "run: dos config reference > docs/configuration.md"


def test_the_example_is_valid_and_runs_the_simulator() -> None:
    made = validate(parse(example().encode(), "config.example.yaml"), {})
    assert [source.type for source in made.sources] == ["simulator"]
    rest = {"sources": Settings().sources}
    assert made.model_copy(update=rest) == Settings(), "apart from that it shows the defaults"


def test_every_key_of_the_models_is_in_the_example() -> None:
    shown = set(written(parse(UNCOMMENTED.encode(), "example").value))
    missing = set(paths(settings_keys())) - shown
    assert not missing
    for room, also, prefix in (
        (SourceSettings.room, SourceSettings.also, ("sources",)),
        (NOTIFIERS, None, ("alerting", "receivers")),
        (RankerSettings.room, None, ("rca", "ranker")),
        (DETECTORS, None, ("detect", "parameters")),
    ):
        for plugin in plugin_keys(room, also):
            if plugin.name in {"fused", "seasonal_ewma"} or len(prefix) < 2 or also:
                assert not set(paths(plugin.keys, prefix)) - shown, plugin.name
            assert plugin.name in example()


def test_the_example_with_everything_switched_on_has_no_unknown_or_wrong_key() -> None:
    with pytest.raises(SettingsError) as caught:
        validate(parse(UNCOMMENTED.encode(), "example"), {})
    # Some keys exclude each other; nothing else may be wrong with what is shown.
    strange = [
        str(problem)
        for problem in caught.value.problems
        if not re.search(r"either|not both|keep one|one of", problem.message)
    ]
    assert not strange


def every_key() -> Iterator[tuple[str, Key]]:
    def flat(keys: Iterable[Key], prefix: str) -> Iterator[tuple[str, Key]]:
        for key in keys:
            yield f"{prefix}.{key.name}", key
            yield from flat(key.keys, f"{prefix}.{key.name}")

    yield from flat(settings_keys(), "")
    rooms = ((SourceSettings.room, SourceSettings.also), (RankerSettings.room, None),
             (DETECTORS, None), (NOTIFIERS, None))  # fmt: skip
    for room, also in rooms:
        plugins: list[PluginKeys] = plugin_keys(room, also)
        for plugin in plugins:
            yield from flat(plugin.keys, f"{room}.{plugin.name}")


# What these words mean is clear from where they stand; their rooms may still say more.
PLAIN = re.compile(
    r"\.(basic_auth|authorization|edges|scenario)\.\w+$|simulator\.(seed|incidents)$"
)


def test_every_key_says_what_it_is() -> None:
    silent = [path for path, key in every_key() if not key.description and not PLAIN.search(path)]
    assert not silent


def test_the_schema_is_a_schema_and_agrees_with_the_example() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    assert not list(checker.iter_errors(parse(example().encode(), "f").value))
    assert list(checker.iter_errors({"sources": [{"type": "simulator", "sede": 1}]}))
    assert not list(checker.iter_errors({"sources": [{"type": "simulator", "seed": 1}]}))
    assert not list(checker.iter_errors({"server": {"token_file": "/run/secrets/token"}}))


def test_the_schema_describes_every_key_at_the_top() -> None:
    properties = json_schema()["properties"]
    assert set(properties) == set(Settings.model_fields)


def test_places_of_list_items_are_kept() -> None:
    place: Location = ("sources", 0, "world")
    assert place in parse(example().encode(), "example").keys
