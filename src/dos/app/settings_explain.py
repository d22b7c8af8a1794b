"""What is wrong with a configuration, in the words of the person who has to mend it.

pydantic says which location failed and how. Here that becomes a `Problem`: the line and column
(or environment variable) that caused it, and what to write instead.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dos.app.section import PluginSection, secret_keys
from dos.kit.errors import ConfigError
from dos.kit.yaml_source import Document, Location, Mark, Problem, Value

_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "keys and values",
    "mapping": "keys and values",
    "model": "keys and values",
    "dataclass": "keys and values",
    "path": "a path",
    "url": "a URL such as http://127.0.0.1:9090",
}
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


def explain(
    error: ValidationError,
    model: type[BaseModel],
    value: Mapping[str, Value],
    document: Document,
    variables: Mapping[Location, str],
) -> list[Problem]:
    """One problem for each thing pydantic found, in the order of the file.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        value: What was validated: the document with the environment laid over it.
        document: Where the places in the file come from.
        variables: Which environment variable set which location.
    """
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        location = _real_location(details["loc"], value)
        source, mark = _place(location, details["type"], document, variables)
        message = _message(details, model, value, location)
        problem = Problem(source=source, mark=mark, location=location, message=message)
        if problem not in problems:
            problems.append(problem)
    return sorted(problems, key=_order)


def _order(problem: Problem) -> tuple[int, int]:
    return (problem.mark.line, problem.mark.column) if problem.mark else (0, 0)


def _real_location(location: tuple[str | int, ...], value: object) -> Location:
    """`location` without the parts pydantic adds for the members of a union."""
    kept: list[str | int] = []
    here = value
    for index, part in enumerate(location):
        there = _step(here, part)
        if there is not _NOWHERE:
            kept.append(part)
            here = there
        elif index == len(location) - 1 and isinstance(here, dict):
            kept.append(part)  # a key that is missing
    return tuple(kept)


_NOWHERE = object()


def _step(here: object, part: str | int) -> object:
    if isinstance(here, dict) and part in here:
        return here[part]
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        return here[part]
    return _NOWHERE


def _place(
    location: Location, kind: str, document: Document, variables: Mapping[Location, str]
) -> tuple[str, Mark | None]:
    """The file position, or the environment variable, that `location` comes from."""
    for depth in range(len(location), 0, -1):
        name = variables.get(location[:depth])
        if name is not None:
            return f"environment variable {name}", None
    on_key = kind in {"extra_forbidden", "unknown_key", "missing"}
    places = (document.keys, document.values) if on_key else (document.values, document.keys)
    for place in places:
        if location in place:
            return document.source, place[location]
    for below, name in variables.items():  # a parent that only exists for a variable
        if below[: len(location)] == location:
            return f"environment variable {name}", None
    # Missing keys: the item or section that lacks them.
    for depth in range(len(location) - 1, 0, -1):
        if location[:depth] in document.keys:
            return document.source, document.keys[location[:depth]]
    return document.source, Mark(line=1, column=1) if document.keys else None


def _message(
    details: ErrorDetails, model: type[BaseModel], value: Mapping[str, Value], location: Location
) -> str:
    kind, context = details["type"], details.get("ctx", {})
    key, around = str(location[-1]) if location else "", location[:-1]
    if kind == "extra_forbidden":
        return _unknown_key(key, list(keys_at(model, value, around)))
    if kind == "unknown_key":
        return _unknown_key(key, context["known"])
    if kind == "missing":
        field = keys_at(model, value, around).get(key)
        purpose = _first_sentence(field.description) if field and field.description else ""
        return f"is missing; {purpose[:1].lower()}{purpose[1:]}" if purpose else "is missing"
    return _value_message(details)


def _value_message(details: ErrorDetails) -> str:
    """What is wrong with a value whose key is right."""
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        expected = str(context.get("expected") or context.get("expected_tags", ""))
        return _unknown_value(given, _QUOTED.findall(expected) or [expected])
    if kind == "plugin_type":
        known = [str(name) for name in context["known"]]
        return str(context["reason"]) if given in known else _unknown_value(given, known)
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    noun = _NOUNS.get(kind.split("_", maxsplit=1)[0])
    if noun and kind.endswith(("_parsing", "_type", "_from_float")):
        shown = _shown(given)
        return f"{shown} is not {noun}" if shown else f"must be {noun}"
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        wanted = details["msg"].removeprefix("Input should be ")
        return f"{_shown(given)} is out of range: must be {wanted}"
    return details["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _shown(given: object) -> str:
    """What the person wrote, shortened; a whole section is not repeated."""
    if given is None:
        return "an empty value"
    if isinstance(given, (dict, list, BaseModel)):
        return ""
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}…{text[-1]}"


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].removesuffix(".")


def _unknown_key(key: str, known: Collection[str]) -> str:
    hint = did_you_mean(key, known)
    listed = f" (keys: {', '.join(known)})" if known else ""
    return f"unknown key{hint}{listed}"


def _unknown_value(given: object, allowed: Collection[str]) -> str:
    hint = did_you_mean(str(given), allowed)
    return f"{_shown(given)} is not known{hint} (allowed: {', '.join(allowed)})"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean 'step'?`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def keys_at(model: type[BaseModel], value: object, location: Location) -> dict[str, FieldInfo]:
    """The keys that may be written at `location`, with the fields behind them."""
    candidates = [model]
    annotations: list[object] = []
    for part in location:
        named = [
            keys[part].annotation
            for keys in (fields_of(candidate, value) for candidate in candidates)
            if part in keys
        ]
        annotations = [*named] or [item for outer in annotations for item in _items(outer)]
        candidates = [found for annotation in annotations for found in _models(annotation)]
        value = _step(value, part)
    keys: dict[str, FieldInfo] = {}
    for candidate in candidates:
        keys |= fields_of(candidate, value)
    return keys


def fields_of(model: type[BaseModel], value: object) -> dict[str, FieldInfo]:
    """The keys of `model` as they are written; for a plugin section with a `type`, its too."""
    own = {field.alias or name: field for name, field in model.model_fields.items()}
    for key in secret_keys(model):
        own[f"{key}_file"] = FieldInfo(
            annotation=Path, default=None, description=f"File that holds `{key}`, instead of it."
        )
    if not issubclass(model, PluginSection):
        return own
    del own["config"]
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        return own
    try:
        return own | fields_of(model.plugin(kind).config, value)
    except ConfigError:
        return own


def _strip(annotation: object) -> Iterator[object]:
    """The members of a union, without `Annotated` and None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _strip(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _strip(member)
    elif annotation is not type(None):
        yield annotation


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    for member in _strip(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member


def _items(annotation: object) -> Iterator[Any]:
    """What a list or a mapping of this type holds."""
    for member in _strip(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if origin is None or origin is Literal or not arguments:
            continue
        yield arguments[-1] if issubclass(origin, Mapping) else arguments[0]
