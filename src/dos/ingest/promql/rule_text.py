"""Texts of alerting rules: the part of Prometheus's templates that labels and annotations use.

`{{ $labels.instance }}`, `{{ $value | humanize }}`, `{{ printf "%.1f" $value }}`, `if`, `with` and
`else`, parentheses, trim markers and the functions of
https://prometheus.io/docs/prometheus/latest/configuration/template_reference/ that need no further
query. There are no variables, loops and queries: such a text is refused when it is read.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import re2

Value: TypeAlias = str | float | bool
Term: TypeAlias = Callable[[Mapping[str, Value], float], Value]

_DEEPEST = 8
"""Conditions within each other."""
_MOST = 10_000
"""Characters of a text, before and after."""
_ACTION = re.compile(r"(\s*)\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)"""
    r"""|(?P<name>[$.]?[A-Za-z_][\w.]*|\.)|(?P<sign>[()|]))""",
    re.DOTALL,
)
_VERB = re.compile(r"%(?P<how>[-+ 0]*\d{0,3}(?:\.\d{1,3})?)(?P<verb>[a-zA-Z%])")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")
_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")


_DOT = "."
"""Where the value of `with` stands among the labels, of which none has this name."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """`if` or `with`: the parts below the first test that holds."""

    word: str
    tests: list[Term] = field(default_factory=list)
    parts: list[list[_Part]] = field(default_factory=list)
    """As many as tests, and perhaps one more: those of `else`."""

    def chosen(self, labels: Mapping[str, Value], value: float) -> Iterator[str]:
        """What it says."""
        for place, parts in enumerate(self.parts):
            found = self.tests[place](labels, value) if place < len(self.tests) else True
            if _holds(found):
                if self.word == "with" and place < len(self.tests):
                    labels = {**labels, _DOT: found}
                yield from _said(parts, labels, value)
                return


_Part: TypeAlias = "str | Term | _Branch"


def _said(parts: Sequence[_Part], labels: Mapping[str, Value], value: float) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Branch):
            yield from part.chosen(labels, value)
        else:
            yield _shown(part(labels, value))


@dataclass(frozen=True, slots=True)
class Text:
    """A text with places to fill in.

    Args:
        source: As it is written.

    Raises:
        ValueError: It has something in it that is not known here.
    """

    source: str
    _parts: tuple[_Part, ...]

    @classmethod
    def of(cls, source: str) -> Text:
        """Read a text; see the class."""
        if len(source) > _MOST:
            msg = f"the text has {len(source)} characters; {_MOST} are the most"
            raise ValueError(msg)
        parts: list[_Part] = []
        begun: list[tuple[_Branch, list[_Part]]] = []
        at, trims = 0, False
        for found in _ACTION.finditer(source):
            plain = source[at : found.start()] + (found[1] or "")
            parts.append(_trimmed(plain, start=trims, end=bool(found[2])))
            parts = _added(found[3].strip(), parts, begun)
            at, trims = found.end(), bool(found[4])
        rest = source[at:]
        if "{{" in rest:
            msg = "a {{ is not closed by }}"
            raise ValueError(msg)
        if begun:
            msg = f"{{{{ {begun[-1][0].word} }}}} has no {{{{ end }}}}"
            raise ValueError(msg)
        parts.append(_trimmed(rest, start=trims, end=False))
        return cls(source, tuple(parts))

    def fill(self, labels: Mapping[str, str], value: float) -> str:
        """The text for a series with `labels`, of which the rule's expression has `value`."""
        try:
            said = "".join(_said(self._parts, labels, value))
        except (ArithmeticError, ValueError, TypeError, re2.error) as error:
            # As Prometheus does: the alert matters more than its text.
            return f"<error expanding template: {error}>"
        return said[:_MOST]


def _added(
    action: str, parts: list[_Part], begun: list[tuple[_Branch, list[_Part]]]
) -> list[_Part]:
    """Add what stands between braces to `parts`; the parts that the next text belongs to."""
    word, _, rest = action.partition(" ")
    if action.startswith("/*"):
        return parts
    if word in {"if", "with"}:
        branch = _Branch(word, [_Parser(rest).whole()], [[]])
        if len(begun) >= _DEEPEST:
            msg = f"{{{{ {action} }}}}: at most {_DEEPEST} within each other"
            raise ValueError(msg)
        begun.append((branch, parts))
        parts.append(branch)
        return branch.parts[-1]
    if word not in {"else", "end"}:
        parts.append(_Parser(action).whole())
        return parts
    branch, outside = begun[-1] if begun else (_Branch(""), parts)
    test = rest.removeprefix(f"{branch.word} ") if rest else ""
    over = len(branch.parts) > len(branch.tests)
    if not begun or (word == "end" and rest) or (word == "else" and (over or test == rest != "")):
        msg = f"{{{{ {action} }}}} is not known here"
        raise ValueError(msg)
    if word == "end":
        begun.pop()
        return outside
    if test:
        branch.tests.append(_Parser(test).whole())
    branch.parts.append([])
    return branch.parts[-1]


def _trimmed(text: str, *, start: bool, end: bool) -> str:
    text = text.lstrip() if start else text
    return text.rstrip() if end else text


class _Parser:
    """`a | f b | g`, where `f b` may also be in parentheses."""

    def __init__(self, inside: str) -> None:
        self._said = inside.strip()
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, self._said
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                msg = f"{{{{ {text} }}}}: {text[at:].strip()[:20]!r} is not known here"
                raise ValueError(msg)
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            at = found.end()

    def whole(self) -> Term:
        """All of it."""
        term = self._pipeline()
        if self._tokens:
            raise self._refusal(self._tokens[0][1])
        return term

    def _refusal(self, what: str) -> ValueError:
        msg = (
            f"{{{{ {self._said} }}}}: {what!r} is not known here; write $labels.name, $value and "
            f"functions such as {', '.join(sorted(_FUNCTIONS)[:4])}"
        )
        return ValueError(msg)

    def _pipeline(self) -> Term:
        term = self._command(())
        while self._tokens and self._tokens[0] == ("sign", "|"):
            del self._tokens[0]
            term = self._command((term,))
        return term

    def _command(self, last: tuple[Term, ...]) -> Term:
        if not self._tokens:
            raise self._refusal("")
        kind, word = self._tokens[0]
        if kind == "name" and word in _FUNCTIONS:
            del self._tokens[0]
            count, function = _FUNCTIONS[word]
            arguments: list[Term] = []
            while self._tokens and self._tokens[0] not in {("sign", "|"), ("sign", ")")}:
                arguments.append(self._term())
            given = [*arguments, *last]
            if count is None and not given:
                raise self._refusal(word)
            if count is not None and len(given) != count:
                msg = f"{{{{ {self._said} }}}}: {word} takes {count} arguments, not {len(given)}"
                raise ValueError(msg)
            return _called(function, given)
        if last:
            raise self._refusal(word)
        return self._term()

    def _term(self) -> Term:
        kind, word = self._tokens.pop(0)
        if kind == "text":
            text = word[1:-1] if word.startswith("`") else _unescaped(word[1:-1])
            return lambda _labels, _value: text
        if kind == "number":
            number = float(word)
            return lambda _labels, _value: number
        if kind == "sign" and word == "(":
            term = self._pipeline()
            if not self._tokens or self._tokens.pop(0) != ("sign", ")"):
                raise self._refusal("(")
            return term
        if word == ".":
            return lambda labels, _value: labels.get(_DOT, "")
        if word in {"$value", ".Value"}:
            return lambda _labels, value: value
        for prefix in ("$labels.", ".Labels."):
            name = word.removeprefix(prefix)
            if name != word and name and "." not in name:
                return lambda labels, _value: labels.get(name, "")
        raise self._refusal(word)


def _called(function: Callable[..., Value], arguments: Sequence[Term]) -> Term:
    return lambda labels, value: function(*(one(labels, value) for one in arguments))


def _unescaped(text: str) -> str:
    known = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: known.get(found[1], found[1]), text, flags=re.DOTALL)


def _shown(value: Value) -> str:
    """As Go prints it: `0.85`, `1e+06`, `+Inf`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    # As few digits as tell it from others, with an exponent from 1e+06 on.
    count = next(one for one in range(17) if one == 16 or float(f"{value:.{one}e}") == value)
    digits, exponent = f"{value:.{count}e}".split("e")
    if -4 <= int(exponent) < 6:
        return f"{value:.{max(0, count - int(exponent))}f}"
    return f"{digits}e{int(exponent):+03d}"


def _number(value: Value) -> float:
    return float(value)


def _scaled(value: float, units: Sequence[str], *, by: float) -> tuple[float, str]:
    """`value` in the unit that leaves it at 1 or more, but below `by`."""
    unit = ""
    for one in units:
        if (abs(value) >= 1) if by < 1 else (abs(value) < by):
            break
        unit, value = one, value / by
    return value, unit


def _general(value: float) -> str:
    """Go's `%.4g`."""
    return f"{value:.4g}" if math.isfinite(value) else _shown(value)


def _humanize(given: Value) -> str:
    value = _number(given)
    if value == 0 or not math.isfinite(value):
        return _general(value)
    large = abs(value) >= 1
    value, unit = _scaled(value, _LARGE if large else _SMALL, by=1000.0 if large else 1e-3)
    return _general(value) + unit


def _humanize1024(given: Value) -> str:
    value = _number(given)
    if abs(value) <= 1 or not math.isfinite(value):
        return _general(value)
    value, unit = _scaled(value, [f"{one}i" for one in ("k", *_LARGE[1:])], by=1024.0)
    return _general(value) + unit


def _humanize_duration(given: Value) -> str:
    value = _number(given)
    if value == 0 or not math.isfinite(value):
        return f"{_general(value)}s" if value == 0 else _general(value)
    if abs(value) < 1:
        value, unit = _scaled(value, _SMALL, by=1e-3)
        return f"{_general(value)}{unit}s"
    sign, whole = ("-" if value < 0 else ""), int(abs(value))
    days, hours = whole // 86_400, whole // 3600 % 24
    minutes, seconds = whole // 60 % 60, whole % 60
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    return f"{sign}{minutes}m {seconds}s" if minutes else f"{_general(value)}s"


def _humanize_timestamp(given: Value) -> str:
    value = _number(given)
    if not math.isfinite(value):
        return _general(value)
    at = datetime.fromtimestamp(round(value * 1000) / 1000, UTC)
    fraction = f".{at.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _printf(pattern: Value, *given: Value) -> str:
    """Go's Printf for numbers and texts."""
    left = list(given)

    def one(found: re.Match[str]) -> str:
        how, verb = found["how"], found["verb"]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb == "v":
            return f"%{how}s" % _shown(value)
        if verb in "sq" and isinstance(value, str):
            return f"%{how}s" % (value if verb == "s" else f'"{value}"')
        if verb in "gG" and "." not in how and isinstance(value, float):
            return f"%{how}s" % _shown(value)  # as few digits as tell it from others
        if verb in "eEfFgG" and isinstance(value, float):
            if math.isfinite(value):
                return f"%{how}{verb}" % value
            return f"%{how.partition('.')[0]}s" % _shown(value)
        kind = "string" if isinstance(value, str) else "float64"
        return f"%!{verb}({kind}={_shown(value)})"

    return _VERB.sub(one, str(pattern))


def _replaced(pattern: Value, by: Value, text: Value) -> str:
    options = re2.Options()
    options.log_errors = False
    # Go writes $1 and ${1} where RE2 has \1.
    places = re.sub(r"\$\{?(\d)\}?", r"\\\1", str(by))
    return str(re2.compile(str(pattern), options).sub(places, str(text)))


def _holds(value: Value) -> bool:
    return value is True or (value is not False and value not in {"", 0.0})


def _any(*values: Value) -> Value:
    """Go's `or`: the first that holds, or the last."""
    return next((one for one in values if _holds(one)), values[-1])


def _all(*values: Value) -> Value:
    """Go's `and`: the first that does not hold, or the last."""
    return next((one for one in values if not _holds(one)), values[-1])


def _compared(how: Callable[[Any, Any], bool]) -> Callable[[Value, Value], Value]:
    def function(one: Value, other: Value) -> Value:
        if type(one) is not type(other):
            msg = "incompatible types for comparison"
            raise TypeError(msg)
        return how(one, other)

    return function


def _matches(pattern: Value, text: Value) -> Value:
    options = re2.Options()
    options.log_errors = False
    return bool(re2.compile(str(pattern), options).search(str(text)))


_FUNCTIONS: Mapping[str, tuple[int | None, Callable[..., Value]]] = {
    "and": (None, _all),
    "eq": (2, _compared(operator.eq)),
    "ge": (2, _compared(operator.ge)),
    "gt": (2, _compared(operator.gt)),
    "humanize": (1, _humanize),
    "humanize1024": (1, _humanize1024),
    "humanizeDuration": (1, _humanize_duration),
    "humanizePercentage": (1, lambda value: f"{_general(_number(value) * 100)}%"),
    "humanizeTimestamp": (1, _humanize_timestamp),
    "le": (2, _compared(operator.le)),
    "lt": (2, _compared(operator.lt)),
    "match": (2, _matches),
    "ne": (2, _compared(operator.ne)),
    "not": (1, lambda value: not _holds(value)),
    "or": (None, _any),
    "printf": (None, _printf),
    "reReplaceAll": (3, _replaced),
    "stripDomain": (1, lambda text: re.sub(r"^([^.:\[]+)\.[^:]*", r"\1", str(text))),
    "stripPort": (1, lambda text: re.sub(r"^(\[[^]]*\]|[^:]*):\d+$", r"\1", str(text))),
    "title": (1, lambda text: re.sub(r"\b[a-z]", lambda one: one[0].upper(), str(text))),
    "toLower": (1, lambda text: str(text).lower()),
    "toUpper": (1, lambda text: str(text).upper()),
}
