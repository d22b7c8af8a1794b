"""YAML as DOS accepts it: plain data, with the line and column of every key and value.

Narrower than YAML 1.1, because a configuration must mean what it looks like: no anchors or
aliases (a few lines of those expand to gigabytes), no tags, no duplicate keys, at most 1 MiB, and
the scalars of YAML 1.2's core schema, so that `no`, `on`, `12:30` and `2026-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml
from yaml.composer import ComposerError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Location: TypeAlias = tuple[str | int, ...]
"""Where in the document: `("sources", 0, "step")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, where it is, and what to write instead."""

    source: str
    """File name, or `environment variable DOS_…`."""
    mark: Mark | None
    location: Location
    message: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.mark.line}:{self.mark.column}" if self.mark else self.source
        path = format_location(self.location)
        return f"{where}: {path}: {self.message}" if path else f"{where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file."""

    source: str
    value: dict[str, Value]
    keys: Mapping[Location, Mark] = field(default_factory=dict)
    """Where each key (or list item) begins."""
    values: Mapping[Location, Mark] = field(default_factory=dict)
    """Where each value begins."""


class DocumentError(Exception):
    """The text is not a document DOS accepts."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def format_location(location: Location) -> str:
    """`sources[0].step`; keys that are not plain words are quoted."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def read(path: Path, *, list_as: str | None = None) -> Document:
    """Read and parse a file.

    Args:
        path: Of the file.
        list_as: A file that is nothing but a list is read as if the list stood under this key.

    Raises:
        DocumentError: It cannot be read, is too large, or is not such YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(str(path), f"cannot be read: {error.strerror or error}") from error
    return parse(data, str(path), list_as=list_as)


def parse(data: bytes, source: str, *, list_as: str | None = None) -> Document:
    """Parse the bytes of a file called `source`; `list_as` as for `read`.

    Raises:
        DocumentError: Too large, not UTF-8, or not such YAML.
    """
    if len(data) > MAX_BYTES:
        raise _refusal(source, "is larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        mark = Mark(line=line, column=column)
        raise _refusal(source, "is not UTF-8 text; save the file as UTF-8", mark) from error
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        problem_mark = error.problem_mark or error.context_mark
        mark_or_none = _mark(problem_mark) if problem_mark else None
        context = f" ({error.context})" if error.context else ""
        raise _refusal(source, f"{error.problem}{context}", mark_or_none) from error
    except yaml.YAMLError as error:
        raise _refusal(source, f"is not YAML: {error}") from error
    return _Builder(source, loader).document(root, list_as)


def _refusal(source: str, message: str, mark: Mark | None = None) -> DocumentError:
    return DocumentError([Problem(source=source, mark=mark, location=(), message=message)])


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(line=mark.line + 1, column=mark.column + 1)


class _Loader(yaml.SafeLoader):
    """SafeLoader without anchors and aliases, and with a bound on nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stub lacks its types
        if getattr(event, "anchor", None) is not None:
            msg = "anchors and aliases (& and *) are not accepted; write the value out"
            raise ComposerError(None, None, msg, event.start_mark)
        if self._depth >= MAX_DEPTH:
            msg = f"is nested deeper than {MAX_DEPTH} levels"
            raise ComposerError(None, None, msg, event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


# Scalars of the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema), replacing
# the 1.1 rules under which `no` is false and `12:30` is 750.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


_PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class _Builder:
    """Turns nodes into plain values, noting places; collects problems instead of stopping."""

    def __init__(self, source: str, loader: _Loader) -> None:
        self._source = source
        self._loader = loader
        self._keys: dict[Location, Mark] = {}
        self._values: dict[Location, Mark] = {}
        self._problems: list[Problem] = []

    def document(self, root: yaml.Node | None, list_as: str | None) -> Document:
        value: Value
        if list_as is not None and isinstance(root, yaml.SequenceNode):
            value = {list_as: self._value(root, (list_as,))}
        else:
            value = self._value(root, ()) if root is not None else {}
        if value is None:  # a file of comments only
            value = {}
        if not isinstance(value, dict):
            self._report((), root, "must be keys and values, such as `data_dir: data`")
        if self._problems or not isinstance(value, dict):
            raise DocumentError(self._problems)
        return Document(source=self._source, value=value, keys=self._keys, values=self._values)

    def _report(self, location: Location, node: yaml.Node | None, message: str) -> None:
        mark = _mark(node.start_mark) if node is not None else None
        self._problems.append(
            Problem(source=self._source, mark=mark, location=location, message=message)
        )

    def _value(self, node: yaml.Node, location: Location) -> Value:
        self._values[location] = _mark(node.start_mark)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self._report(location, node, f"the tag {node.tag!r} is not accepted; remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            items: list[Value] = []
            for index, item in enumerate(node.value):
                self._keys[(*location, index)] = _mark(item.start_mark)
                items.append(self._value(item, (*location, index)))
            return items
        return self._scalar(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*location, key)
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(location, key_node, "a key must be a word, not a list or a mapping")
            elif key in result:
                first = self._keys[here].line
                self._report(here, key_node, f"is written twice, first in line {first}; keep one")
            else:
                self._keys[here] = _mark(key_node.start_mark)
                result[key] = self._value(value_node, here)
        return result

    def _scalar(self, node: yaml.Node, location: Location) -> Scalar:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if kind == "str":
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text, 16 if text.startswith("0x") else 10)
            if kind == "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self._report(location, node, f"{text[:40]!r} is not a usable {kind}")
            return None
        self._report(location, node, f"the tag {node.tag!r} is not accepted; remove it")
        return None
