"""`config.example.yaml`: every key with its meaning and default, made from the models.

Prose begins with `# `; a key that is commented out begins with `#` alone and shows its default, so
that taking away that one character switches it on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from dos.alerting.base import ROOM as NOTIFIERS
from dos.app.settings import RankerSettings, SourceSettings
from dos.app.settings_keys import REQUIRED, Key, PluginKeys, plugin_keys, settings_keys
from dos.app.settings_reference import inline
from dos.detect.engine import ROOM as DETECTORS

_HEAD = """\
# Configuration of Dependency Ops Sentinel. Copy to config.yaml and keep what you change.
#
# Every key is here. '# ' begins an explanation; '#' alone takes a key out, and what stands there
# is its default: remove the '#' to change it. Durations: 500ms, 15s, 5m, 1h30m, 2d.
# Environment variables override: DOS_SERVER__PORT=9000 sets server.port.
# Check with: dos check-config
"""

_SOURCES = """\
# Where telemetry comes from.
sources:
  # The simulator: try DOS without a system to watch.
  - type: simulator
    world: shop
    history: 2h
    incidents: random

  # A Prometheus (or Mimir, Thanos, VictoriaMetrics). Its metrics are recognised by themselves.
  #- type: prometheus
    #name: production
    #url: http://127.0.0.1:9090
    #step: 15s
    #lookback: 2h

  # Samples that others send to POST /collect-metrics. Without any source this one is there.
  #- type: push

  # All keys of each type:
"""

_RECEIVERS = """\
  # Who is told. Without this list there is one receiver, the console.
  receivers:
    - type: console

    # All keys of each type:
"""

_EXAMPLES: Mapping[str, object] = {
    "after": "5m",
    "alert": "HighCpu",
    "ledger": "postgresql+asyncpg://dos@db.internal/dos_replicas",
    "api_key": "00000000-0000-0000-0000-000000000000",
    "at": "1m",
    "at_least": 0.05,
    "callee": "payment",
    "caller": "frontend",
    "end": "2026-11-29T02:00",
    "entity": "frontend",
    "from": "DOS <dos@example.com>",
    "id": "payment",
    "limit": 1000.0,
    "long": "1h",
    "metric": "request_rate",
    "msteams.webhook_url": (
        "https://prod-00.westeurope.logic.azure.com/workflows/0000/triggers/manual/paths/invoke"
        "?api-version=2016-06-01&sig=XXXXXXXX"
    ),
    "name": ["service"],
    "objective": 0.999,
    "path": "recordings/case-1",
    "people": ["anna", "ben"],
    "person": "anna",
    "promql": "sum by (service) (rate(requests_total[1m]))",
    "rate": 14.4,
    "short": "5m",
    "routing_key": "0123456789abcdef0123456789abcdef",
    "smarthost": "smtp.example.com",
    "source": "own",
    "start": "2026-11-28T22:00",
    "target": "payment-service",
    "to": ["oncall@example.com"],
    "url": "http://127.0.0.1:9090",
    "urls": ["ntfys://ops-alerts"],
    "username": "dos",
    "webhook_url": "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX",
}
"""What is shown for a key that must be given, by its name, or by its type and name."""


def example() -> str:
    """The whole file."""
    lines = [_HEAD]
    for key in settings_keys():
        if key.name == "sources":
            lines.append(_SOURCES.rstrip("\n"))
            for plugin in plugin_keys(SourceSettings.room, SourceSettings.also):
                lines += _item(key, plugin, "  ")
        elif key.keys and not key.many:
            lines += [*_prose(key.description, ""), f"{key.name}:", *_section(key)]
        else:
            lines += _entry(key, "")
        lines.append("")
    return "\n".join(lines)


def _section(section: Key) -> Iterator[str]:
    for key in section.keys:
        if key.name == "receivers":
            yield _RECEIVERS.rstrip("\n")
            for plugin in plugin_keys(NOTIFIERS):
                yield from _item(key, plugin, "    ")
        elif key.name == "ranker":
            chosen, *others = _default_first(plugin_keys(RankerSettings.room), key.default)
            yield from _prose(f"{key.description} {_others(others)}", "  ")
            yield "  #ranker:"
            yield from _commented(f"    type: {chosen.name}")
            yield from _entries(chosen.keys, "    ")
        elif key.name == "parameters":
            detector = next(one.default for one in section.keys if one.name == "detector")
            chosen, *others = _default_first(plugin_keys(DETECTORS), detector)
            yield from _prose(f"{key.description} {_others(others)}", "  ")
            yield "  #parameters:"
            yield from _entries(chosen.keys, "    ")
        else:
            yield from _entry(key, "  ")


def _default_first(found: list[PluginKeys], default: object) -> list[PluginKeys]:
    name = default["type"] if isinstance(default, dict) else default
    return sorted(found, key=lambda plugin: plugin.name != name)


def _others(others: Iterable[PluginKeys]) -> str:
    """The types that are not shown in full, with the names of their keys."""
    told = (
        f"{plugin.name} (keys: {', '.join(key.name for key in plugin.keys) or 'none'})"
        for plugin in others
    )
    text = "; ".join(told)
    return f"Other types: {text}." if text else ""


def _item(section: Key, plugin: PluginKeys, indent: str) -> Iterator[str]:
    """A list item of a plugin's type, commented out, with our keys and the plugin's."""
    yield from _prose(plugin.description, indent)
    yield f"{indent}#- type: {plugin.name}"
    own = [key for key in section.keys if key.name != "type"]
    for key in own:
        if key.name == "name":  # unique, and so that the blocks do not collide when uncommented
            yield from _prose(key.description, f"{indent}  ")
            yield from _commented(f"{indent}  name: {plugin.name}-2")
        else:
            yield from _entry(key, f"{indent}  ")
    for key in plugin.keys:
        shown = _EXAMPLES.get(f"{plugin.name}.{key.name}", key.default)
        yield from _entry(replace(key, default=shown), f"{indent}  ")
    yield ""


def _entries(keys: Iterable[Key], indent: str) -> Iterator[str]:
    for key in keys:
        yield from _entry(key, indent)


def _entry(key: Key, indent: str) -> Iterator[str]:
    """One key, commented out, with its meaning above; a section with its keys below."""
    limits = f" ({key.limits})" if key.limits else ""
    listed = f" One of: {', '.join(key.choices)}." if key.choices and not key.keys else ""
    yield from _prose(f"{key.description}{limits}{listed}".strip(), indent)
    if not key.keys:
        yield from _commented(f"{indent}{key.name}: {_shown(key)}".rstrip())
        return
    yield from _commented(f"{indent}{key.name}:")
    below = list(_entries(key.keys, f"{indent}    " if key.many else f"{indent}  "))
    if key.many:
        first = next(i for i, line in enumerate(below) if not line.lstrip().startswith("# "))
        stripped = below[first].lstrip().removeprefix("#")
        below[first] = f"{indent}  #- {stripped}"
    yield from below


def _shown(key: Key) -> str:
    if key.default is REQUIRED:
        return inline(key.choices[0] if key.choices else _required(key))
    return "null" if key.default is None else inline(key.default)


def _required(key: Key) -> object:
    value = _EXAMPLES[key.name]
    return value[0] if isinstance(value, list) and not key.kind.startswith("list") else value


def _commented(line: str) -> Iterator[str]:
    stripped = line.lstrip()
    yield f"{line[: len(line) - len(stripped)]}#{stripped}"


def _prose(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width=100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )
