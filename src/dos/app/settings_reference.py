"""`docs/configuration.md`: a table of keys for each section and plugin, made from the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import yaml

from dos.alerting.base import ROOM as NOTIFIERS
from dos.app.settings import RankerSettings, SourceSettings
from dos.app.settings_keys import REQUIRED, Key, plugin_keys, settings_keys
from dos.detect.engine import ROOM as DETECTORS

_INTRODUCTION = """\
# Configuration

DOS reads one YAML file: the one named by `--config`, else by `$DOS_CONFIG`, else `./config.yaml`.
Without any it runs with the defaults below: samples are pushed to its API, alerts go to the
console, data lies in `./data`.

- `dos check-config` says file, line, column and what to write instead, for every mistake.
- `dos config show` prints what is in effect; `dos config schema` prints a JSON Schema for editors.
- [`config.example.yaml`](../config.example.yaml) holds every key with its default.

**Durations** are written `500ms`, `15s`, `5m`, `1h30m`, `2d`; a bare number means seconds.
**Shares** are numbers from 0 to 1.

**Environment.** Any key can be overridden: `DOS_SERVER__PORT=9000` sets `server.port`,
`DOS_SOURCES__0__STEP=5s` the key of the first source, `DOS_SOURCES='[{"type": "push"}]'` a whole
list as JSON. `null` takes a value away. Keys of maps that are not lower case need JSON at the map.
`$` in a value stands for itself: nothing is interpolated.

**Secrets.** Each secret key `x` can be written as `x_file` instead, naming a file that holds it.
Secrets are never printed: they show as `***`.

**YAML.** UTF-8, at most 1 MiB; no anchors, aliases or tags; no key twice. `yes`, `no`, `on` and
`off` are text, as in YAML 1.2: write `true` or `false`.

This page is made by `dos config reference` from the program itself.
"""

_PLUGINS = (
    ("sources", "source", SourceSettings.room, SourceSettings.also, ""),
    ("detect", "detector", DETECTORS, None, " (under `detect.parameters`)"),
    ("rca", "ranker", RankerSettings.room, None, " (under `rca.ranker`)"),
    ("alerting", "receiver", NOTIFIERS, None, ""),
)


def reference() -> str:
    """The whole page, Markdown."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    top = settings_keys()
    yield from _table([key for key in top if not key.keys])
    for key in top:
        if key.keys:
            yield f"## {key.name}\n\n{key.description}\n"
            yield from _table(_flat(key.keys, ""))
            for section, noun, room, also, where in _PLUGINS:
                if section == key.name:
                    for plugin in plugin_keys(room, also):
                        yield f"### {noun} `{plugin.name}`{where}\n\n{plugin.description}\n"
                        yield from _table(_flat(plugin.keys, ""))


def _flat(keys: Iterable[Key], prefix: str) -> Iterator[Key]:
    """Keys with those of their sections behind them, named by their path."""
    for key in keys:
        name = f"{prefix}{key.name}"
        yield Key(
            name=name,
            description=key.description,
            kind=key.kind,
            limits=key.limits,
            default=None if key.keys and key.default is not REQUIRED else key.default,
        )
        yield from _flat(key.keys, f"{name}[]." if key.many else f"{name}.")


def _table(keys: Iterable[Key]) -> Iterator[str]:
    rows: Sequence[Key] = list(keys)
    if not rows:
        yield "It has no keys of its own.\n"
        return
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    for key in rows:
        kind = f"{key.kind}, {key.limits}" if key.limits else key.kind
        yield f"| `{key.name}` | {_cell(kind)} | {_default(key)} | {_cell(key.description)} |"
    yield ""


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "required"
    return "" if key.default is None else f"`{_cell(inline(key.default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def inline(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
