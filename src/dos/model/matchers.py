"""Label matchers in the language of Prometheus and Alertmanager: `severity=~"page|ticket"`.

A label that is not there counts as an empty one. Regular expressions are anchored on both sides and
run in RE2, as in Alertmanager: time grows with the length of the text alone, whatever somebody
writes into a silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, cast

import re2

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_OPERATOR = re.compile(r"=~|!=|!~|=")
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}
_LONGEST_PATTERN = 4096


class Operator(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LIKE = "=~"
    NOT_LIKE = "!~"

    @property
    def negative(self) -> bool:
        """Whether it holds where the comparison fails."""
        return self in {Operator.NOT_EQUAL, Operator.NOT_LIKE}

    @property
    def is_pattern(self) -> bool:
        """Whether the value is a regular expression."""
        return self in {Operator.LIKE, Operator.NOT_LIKE}


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object | None: ...


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> _Pattern:
    if len(pattern) > _LONGEST_PATTERN:
        msg = f"the expression has {len(pattern)} characters; {_LONGEST_PATTERN} are the most"
        raise ValueError(msg)
    options = re2.Options()
    options.log_errors = False
    try:
        return cast("_Pattern", re2.compile(f"(?s:{pattern})", options))
    except re2.error as error:
        said = error.args[0] if error.args else error
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        msg = f"{pattern!r} is not a regular expression that RE2 knows: {text}"
        raise ValueError(msg) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One comparison.

    Raises:
        ValueError: The value is to be a regular expression and is none.
    """

    name: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if self.operator.is_pattern:
            _compiled(self.value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` satisfy it."""
        value = labels.get(self.name, "")
        if self.operator.is_pattern:
            hit = _compiled(self.value).fullmatch(value) is not None
        else:
            hit = value == self.value
        return hit is not self.operator.negative

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{value}"'


Matchers = tuple[Matcher, ...]


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether `labels` satisfy every one of them; without any they do."""
    return all(one.matches(labels) for one in matchers)


def parse_matchers(text: str) -> Matchers:
    """Several, with commas between: `{severity="page", team!~"a|b"}`; the braces may be left out.

    Raises:
        ValueError: It is malformed; the message says where.
    """
    left = text.strip()
    left = left.removeprefix("{").removesuffix("}")  # each by itself, as Alertmanager has it
    parts = _split(left)
    if parts and not parts[-1].strip():
        parts.pop()  # a comma at the end is allowed
    return tuple(parse_matcher(part) for part in parts)


def checked_matchers(text: str) -> str:
    """`text` as it is, for keys of a configuration that hold matchers.

    Raises:
        ValueError: It is malformed; the message says where.
    """
    parse_matchers(text)
    return text


def parse_matcher(text: str) -> Matcher:
    """A single one: `severity=page`, `severity =~ "page|ticket"`.

    Raises:
        ValueError: It is malformed; the message says where.
    """
    whole = text.strip()
    name = _NAME.match(whole)
    if name is None:
        msg = f'{text!r} is not a matcher; it has to begin with a label\'s name: name="value"'
        raise ValueError(msg)
    rest = whole[name.end() :].lstrip()
    operator = _OPERATOR.match(rest)
    if operator is None:
        msg = f"{text!r}: after {name[0]!r} one of = != =~ !~ has to follow"
        raise ValueError(msg)
    raw = rest[operator.end() :].strip()
    return Matcher(name=name[0], operator=Operator(operator[0]), value=_value(raw, text))


def _value(raw: str, text: str) -> str:
    quoted = raw.startswith('"')
    inner = raw[1:] if quoted else raw
    out: list[str] = []
    at = 0
    while at < len(inner):
        sign = inner[at]
        if sign == "\\":
            at += 1
            if at == len(inner):
                if quoted:
                    msg = f"{text!r}: the backslash at the end escapes nothing"
                    raise ValueError(msg)
                out.append("\\")
                break
            escaped = inner[at]
            out.append(_ESCAPES.get(escaped, "\\" + escaped))
        elif sign == '"':
            if not quoted or at != len(inner) - 1:
                msg = f"{text!r}: a quotation mark within the value needs a backslash before it"
                raise ValueError(msg)
            return "".join(out)
        else:
            out.append(sign)
        at += 1
    if quoted:
        msg = f"{text!r}: the quotation mark is not closed"
        raise ValueError(msg)
    return "".join(out)


def _split(text: str) -> list[str]:
    """At commas outside quotation marks."""
    parts, inside, escaped, first = [], False, False, 0
    for at, sign in enumerate(text):
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == '"':
            inside = not inside
        elif sign == "," and not inside:
            parts.append(text[first:at])
            first = at + 1
    parts.append(text[first:])
    return parts if text.strip() else []
