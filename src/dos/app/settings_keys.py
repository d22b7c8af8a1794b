"""Every key of the configuration as a tree, read off the models: for the reference and the example.

A key's description is its field's `description`, else the string below the field in the source,
else (for a section) the first sentence of its model's docstring. So each room documents its keys
once, beside them.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from dos.app.section import PluginSection, secret_keys
from dos.app.settings import Settings
from dos.kit import plugins
from dos.kit.duration import format_duration, parse_duration
from dos.kit.errors import ConfigError
from dos.kit.secret import Secret

REQUIRED = object()
"""The default of a key that has none."""

_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    Secret: "secret",
    type(None): "nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key and what may be written there."""

    name: str
    description: str
    kind: str
    """The type in words: `duration`, ``list of text``, `` `a` or `b` ``."""
    limits: str = ""
    """`1–65535`, `more than 0`; empty when there are none."""
    default: object = None
    """As it would be written; `REQUIRED` when there is none."""
    choices: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    """Of a section."""
    many: bool = False
    """Whether the section is a list of such sections."""
    plugin: type[PluginSection] | None = None
    """Its further keys depend on `type`."""


def settings_keys() -> tuple[Key, ...]:
    """The keys of the whole configuration."""
    return keys_of(Settings)


def keys_of(model: type[BaseModel]) -> tuple[Key, ...]:
    """The keys of one model, in order; plugin sections without the plugins' keys."""
    hidden = {"config"} if issubclass(model, PluginSection) else set()
    written = source_docs(model)
    keys = [
        _key(field.alias or name, field, written.get(name, ""))
        for name, field in model.model_fields.items()
        if name not in hidden
    ]
    for key in secret_keys(model):
        place = [one.name for one in keys].index(key) + 1
        text = f"File that holds `{key}`, instead of `{key}` itself."
        keys.insert(place, Key(name=f"{key}_file", description=text, kind="path"))
    return tuple(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginKeys:
    """The keys of one plugin type."""

    name: str
    """The `type` to write."""
    config: type[BaseModel]
    keys: tuple[Key, ...]

    @property
    def description(self) -> str:
        """What the plugin is: the first sentence of its module."""
        text = inspect.getdoc(inspect.getmodule(self.config)) or ""
        return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def plugin_keys(room: str, also: Mapping[str, str] | None = None) -> list[PluginKeys]:
    """Every plugin of a room whose packages are installed, by name."""
    found: list[PluginKeys] = []
    for name in plugins.names(room, also):
        try:
            config = plugins.load(room, name, also).config
        except ConfigError:
            continue  # its extra is not installed
        found.append(PluginKeys(name=name, config=config, keys=keys_of(config)))
    return found


def _key(name: str, field: FieldInfo, written: str) -> Key:
    annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else (
        field.annotation
    )  # fmt: skip
    section, many = _section(annotation)
    default = field.get_default(call_default_factory=True) if not field.is_required() else REQUIRED
    description = field.description or written
    if not description and section is not None:
        description = inspect.getdoc(section) or ""
    nested = keys_of(section) if section is not None else ()
    return Key(
        name=name,
        description=" ".join(description.split("\n\n", maxsplit=1)[0].split()),
        kind=type_words(annotation),
        limits=_limits(field.metadata),
        default=_written(default, annotation),
        choices=_choices(annotation),
        keys=nested,
        many=many,
        plugin=section if section and issubclass(section, PluginSection) else None,
    )


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model behind a type, and whether the type is a list of it."""
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member, False
        if get_origin(member) in {list, tuple}:
            inner, _ = _section(get_args(member)[0])
            if inner is not None:
                return inner, True
    return None, False


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [annotation]


def _is_duration(annotation: Any) -> bool:
    return any(
        isinstance(item, BeforeValidator) and item.func is parse_duration
        for item in getattr(annotation, "__metadata__", ())
    )


def type_words(annotation: Any) -> str:
    """A type as a person would say it."""
    if _is_duration(annotation):
        return "duration"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin in {Union, types.UnionType}:
        words = dict.fromkeys(type_words(one) for one in arguments if one is not type(None))
        return " or ".join(words)
    if origin in {list, tuple}:
        return f"list of {type_words(arguments[0])}"
    if origin in {dict, Mapping}:
        return f"{type_words(arguments[0])} to {type_words(arguments[1])}"
    choices = _choices(annotation)
    if choices:
        return " or ".join(f"`{one}`" for one in choices)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _choices(annotation: Any) -> tuple[str, ...]:
    found: list[str] = []
    for member in _members(annotation):
        if get_origin(member) is Literal:
            found += [str(one) for one in get_args(member)]
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [str(one.value) for one in member]
    return tuple(found)


def _limits(metadata: Sequence[object]) -> str:
    low = high = ""
    for item in metadata:
        match item:
            case annotated_types.Ge(ge=bound):
                low = f"at least {bound}"
            case annotated_types.Gt(gt=bound):
                low = f"more than {bound}"
            case annotated_types.Le(le=bound):
                high = f"at most {bound}"
            case annotated_types.Lt(lt=bound):
                high = f"less than {bound}"
            case _:  # validators and the like set no bound
                pass
    return ", ".join(part for part in (low, high) if part)


def _written(default: object, annotation: Any) -> object:
    """A default as it would be written in the file."""
    if isinstance(default, float) and _holds_duration(annotation):
        return format_duration(default)
    if isinstance(default, Enum):
        return default.value
    if isinstance(default, Path):
        return str(default)
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    if isinstance(default, (list, tuple)):
        return [_written(item, None) for item in default]
    return default


def _holds_duration(annotation: Any) -> bool:
    if _is_duration(annotation):
        return True
    return any(_holds_duration(inner) for inner in get_args(annotation))


@cache
def source_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field in the source of `model` and of the models it extends."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        except (OSError, TypeError):  # made without a source file
            continue
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for statement, below in itertools.pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[statement.target.id] = inspect.cleandoc(below.value.value)
    return found
