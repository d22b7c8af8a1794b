"""Templates of Alertmanager's file, in the language of DOS's own words (`dos.alerting.words`).

Alertmanager's templates are Go's (https://pkg.go.dev/text/template) over the data of
https://prometheus.io/docs/alerting/latest/notifications/; those of DOS are Jinja's over the same,
in a sandbox. A template is read here once, when a configuration is imported, and written anew:

    {{ range .Alerts.Firing }}{{ .Labels.instance }} {{ end }}
    {% for a0 in firing %}{{ a0.labels.instance }} {% endfor %}

Where Go's dot moves (`range`, `with`, `template`) its path is written out. What has no counterpart,
such as variables of a template's own, `printf` and `date`, is refused with its name, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)"""
    r"""|(?P<name>\$?(?:\.?[A-Za-z_]\w*)+|\$|\.)|(?P<sign>[()|,]|:=))""",
    re.DOTALL,
)
_LONGEST = 100_000
_DEEPEST = 8
"""Templates that call each other."""
_ROOT = {
    "Receiver": ("receiver", "text"),
    "Status": ("status", "text"),
    "GroupLabels": ("groupLabels", "labels"),
    "CommonLabels": ("commonLabels", "labels"),
    "CommonAnnotations": ("commonAnnotations", "labels"),
    "Alerts": ("alerts", "alerts"),
}
_ALERT = {
    "Status": ("status", "text"),
    "Labels": ("labels", "labels"),
    "Annotations": ("annotations", "labels"),
    "StartsAt": ("startsAt", "text"),
    "EndsAt": ("endsAt", "text"),
    "GeneratorURL": ("generatorURL", "text"),
    "Fingerprint": ("fingerprint", "text"),
}
_ELEMENT = {"alerts": "alert", "pairs": "pair", "texts": "text"}
_OWN = re.compile(r"(?:\w+\.default\.(?:\w+)|__subject)$")
_OWN_TEXT = re.compile(r"(?:text|html|opsgenie\.default\.description)$")


@dataclass(frozen=True, slots=True)
class _Value:
    """An expression of DOS's language, and what it stands for."""

    code: str
    kind: str
    """root, alert, alerts, labels, pair, pairs, texts, text, number or flag."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text, or what stands between braces."""

    text: str = ""
    action: str | None = None
    left: str = ""
    right: str = ""
    """`-` where the space beside it goes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What the dot and `$` names stand for at a place."""

    dot: _Value
    names: Mapping[str, _Value] = field(default_factory=dict)
    depth: int = 0
    loops: int = 0


def defined(source: str) -> dict[str, str]:
    """The templates that a file of templates defines, by name.

    Raises:
        ValueError: It is not such a file.
    """
    pieces = _pieces(source)
    found: dict[str, str] = {}
    at = 0
    while at < len(pieces):
        named = re.fullmatch(r'define\s+"([^"]+)"', pieces[at].action or "")
        at += 1
        if not named:
            continue
        begin, deep = at, 1
        while at < len(pieces):
            word = (pieces[at].action or "").split(maxsplit=1)[:1]
            deep += word in (["if"], ["range"], ["with"], ["define"], ["block"])
            deep -= word == ["end"]
            if deep == 0:
                break
            at += 1
        if deep:
            msg = f"the template {named[1]} has no end"
            raise ValueError(msg)
        body = "".join(_source(one) for one in pieces[begin:at])
        body = body.lstrip() if pieces[begin - 1].right else body
        found[named[1]] = body.rstrip() if pieces[at].left else body
    return found


def translated(source: str, templates: Mapping[str, str] | None = None) -> str:
    """A template of Alertmanager as one of DOS.

    Args:
        source: The template.
        templates: Those that it may call, by name; see `defined`.

    Raises:
        ValueError: It has something that has no counterpart; says what.
    """
    return _Reader(_pieces(source), templates or {}).whole(_Scope(dot=_Value("", "root")))


def _pieces(source: str) -> list[_Piece]:
    if len(source) > _LONGEST:
        msg = f"it has more than {_LONGEST} characters"
        raise ValueError(msg)
    found: list[_Piece] = []
    at = 0
    for one in _ACTION.finditer(source):
        found.append(_Piece(text=source[at : one.start()]))
        action = one[2].strip()
        # A comment trims beside itself as any other action; what is left of it is an empty text.
        action = '""' if action.startswith("/*") else action
        found.append(_Piece(action=action, left="-" if one[1] else "", right="-" if one[3] else ""))
        at = one.end()
    if "{{" in source[at:]:
        msg = "a {{ is not closed by }}"
        raise ValueError(msg)
    found.append(_Piece(text=source[at:]))
    return found


def _source(piece: _Piece) -> str:
    if piece.action is None:
        return piece.text
    left, right = ("- " if piece.left else ""), (" -" if piece.right else "")
    return f"{{{{{left}{piece.action}{right}}}}}"


class _Reader:
    """Reads the pieces of one template, front to back."""

    def __init__(self, pieces: Sequence[_Piece], templates: Mapping[str, str]) -> None:
        self._pieces = pieces
        self._templates = templates
        self._at = 0

    def whole(self, scope: _Scope) -> str:
        code, end = self._block(scope)
        if end is not None:
            msg = f"{end.action}: there is nothing that it ends"
            raise ValueError(msg)
        return code

    def _block(self, scope: _Scope) -> tuple[str, _Piece | None]:
        """Up to the `end` or `else` that ends it, which is returned too."""
        code: list[str] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if piece.action is None:
                # What Jinja would read as the beginning of something is quoted.
                plain = re.sub(r"\{([%#])", r"{{ '{\1' }}", piece.text)
                code.append(plain)
                continue
            word, _, rest = piece.action.partition(" ")
            if word in {"end", "else"}:
                return "".join(code), piece
            if word in {"if", "with", "range"}:
                code.append(self._nested(word, rest, piece, scope))
            elif word in {"define", "block", "break", "continue"}:
                msg = f"{word} is not known here"
                raise ValueError(msg)
            elif word == "template":
                code.append(self._called(rest, piece, scope))
            else:
                value = _Expression(piece.action, scope).whole()
                code.append(f"{{{{{piece.left} {_shown(value)} {piece.right}}}}}")
        return "".join(code), None

    def _nested(self, word: str, rest: str, piece: _Piece, scope: _Scope) -> str:
        inner, head = self._head(word, rest, scope)
        body, end = self._block(inner)
        code = [f"{{%{piece.left} {head} {piece.right}%}}", body]
        while end is not None and end.action != "end":
            _, _, more = (end.action or "").partition(" ")
            if more.startswith("if ") and word == "if":
                test = _Expression(more[3:], scope).whole()
                code.append(f"{{%{end.left} elif {_code(test)} {end.right}%}}")
            elif more:
                msg = f"else {more} is not known here"
                raise ValueError(msg)
            else:
                code.append(f"{{%{end.left} else {end.right}%}}")
            body, end = self._block(scope)
            code.append(body)
        if end is None:
            msg = f"{word} has no end"
            raise ValueError(msg)
        close = "endfor" if word == "range" else "endif"
        return "".join([*code, f"{{%{end.left} {close} {end.right}%}}"])

    def _head(self, word: str, rest: str, scope: _Scope) -> tuple[_Scope, str]:
        names: list[str] = []
        given = re.match(r"\s*(\$\w+)(?:\s*,\s*(\$\w+))?\s*:=(.*)", rest, re.DOTALL)
        if given:
            names, rest = [one for one in given.groups()[:2] if one], given[3]
        value = _Expression(rest, scope).whole()
        if word != "range":
            if names and word == "if":
                msg = f"{names[0]} := is not known here"
                raise ValueError(msg)
            known = {**scope.names, **dict.fromkeys(names, value)}
            dot = value if word == "with" else scope.dot
            return replace(scope, dot=dot, names=known), f"if {_code(value)}"
        return self._loop(value, names, scope)

    @staticmethod
    def _loop(value: _Value, names: list[str], scope: _Scope) -> tuple[_Scope, str]:
        mine = f"a{scope.loops}"
        inner = replace(scope, loops=scope.loops + 1)
        if value.kind in {"labels", "pairs"}:
            over = value.code if value.kind == "pairs" else f"{value.code} | pairs"
            name, content = _Value(f"{mine}n", "text"), _Value(f"{mine}v", "text")
            known = dict(scope.names)
            dot = content if value.kind == "labels" else _Value(mine, "pair")
            if len(names) == 2 and value.kind == "labels":
                known |= {names[0]: name, names[1]: content}
            elif len(names) == 2:
                msg = f"{names[0]}: the number of a round is not known here"
                raise ValueError(msg)
            else:
                known |= dict.fromkeys(names, dot)
            head = f"for {mine}n, {mine}v in {over}"
            return replace(inner, dot=dot, names=known), head
        element = _ELEMENT.get(value.kind)
        if element is None:
            msg = f"range goes over lists, and {value.code or '.'} is none"
            raise ValueError(msg)
        if len(names) == 2:
            msg = f"{names[0]}: the number of a round is not known here"
            raise ValueError(msg)
        dot = _Value(mine, element)
        known = {**scope.names, **dict.fromkeys(names, dot)}
        return replace(inner, dot=dot, names=known), f"for {mine} in {value.code}"

    def _called(self, rest: str, piece: _Piece, scope: _Scope) -> str:
        named = re.match(r'\s*"([^"]+)"\s*(.*)', rest, re.DOTALL)
        if not named:
            msg = f"template {rest}: no name"
            raise ValueError(msg)
        name, given = named[1], named[2].strip()
        if name not in self._templates:
            if _OWN.match(name) and scope.dot.kind == "root":
                own = "own_text" if _OWN_TEXT.search(name) else "own_subject"
                return f"{{{{{piece.left} {own} {piece.right}}}}}"
            msg = f"there is no template {name}"
            raise ValueError(msg)
        if scope.depth >= _DEEPEST:
            msg = f"templates call each other more than {_DEEPEST} deep"
            raise ValueError(msg)
        dot = _Expression(given, scope).whole() if given else _Value("", "text")
        inside = _Scope(dot=dot, depth=scope.depth + 1, loops=scope.loops)
        code = _Reader(_pieces(self._templates[name]), self._templates).whole(inside)
        # Nothing is put out by these but the space beside the call goes away as it would.
        front = f"{{{{{piece.left} '' }}}}" if piece.left else ""
        back = f"{{{{ '' {piece.right}}}}}" if piece.right else ""
        return f"{front}{code}{back}"


class _Expression:
    """A pipeline: what is put out, tested or gone over."""

    def __init__(self, source: str, scope: _Scope) -> None:
        self._source = source.strip()
        self._scope = scope
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[str]:
        found: list[str] = []
        at = 0
        while at < len(self._source):
            one = _TOKEN.match(self._source, at)
            if one is None or one.end() == at:
                msg = f"{self._source[at : at + 20].strip()!r} is not understood"
                raise ValueError(msg)
            found.append(one[0].strip())
            at = one.end()
        return found

    def whole(self) -> _Value:
        value = self._pipeline()
        if self._at < len(self._tokens):
            msg = f"{self._tokens[self._at]!r} is not understood in {self._source!r}"
            raise ValueError(msg)
        return value

    def _pipeline(self) -> _Value:
        value = self._command(None)
        while self._take("|"):
            value = self._command(value)
        return value

    def _command(self, last: _Value | None) -> _Value:
        """A function with its arguments, of which the pipe gives the last, or one value."""
        if self._at >= len(self._tokens):
            msg = f"something is missing in {self._source!r}"
            raise ValueError(msg)
        word = self._tokens[self._at]
        if re.fullmatch(r"[A-Za-z_]\w*", word) and word not in {"true", "false"}:
            self._at += 1
            arguments = self._arguments()
            return _call(word, [*arguments, last] if last else arguments)
        value = self._operand()
        arguments = self._arguments()
        if arguments and value.code.endswith(_REMOVE):
            names = ", ".join(one.code for one in arguments)
            return _Value(f"({value.code.removesuffix(_REMOVE)} | without({names}))", "labels")
        if arguments or last:
            msg = f"{word} takes nothing in {self._source!r}"
            raise ValueError(msg)
        return value

    def _arguments(self) -> list[_Value]:
        found: list[_Value] = []
        while self._at < len(self._tokens) and self._tokens[self._at] not in {"|", ")", ","}:
            found.append(self._operand())
        return found

    def _operand(self) -> _Value:
        word = self._tokens[self._at]
        self._at += 1
        if word == "(":
            value = self._pipeline()
            if not self._take(")"):
                msg = f"a ( is not closed in {self._source!r}"
                raise ValueError(msg)
            if self._at < len(self._tokens) and self._tokens[self._at].startswith("."):
                path = self._tokens[self._at]
                self._at += 1
                return _path(value, path[1:].split("."))
            return value
        if word[0] in '"`':
            return _Value(_literal(word), "text")
        if word.lstrip("-").isdecimal():
            return _Value(word, "number")
        if word in {"true", "false"}:
            return _Value(word, "flag")
        return self._named(word)

    def _named(self, word: str) -> _Value:
        if word == ".":
            return self._scope.dot
        if word.startswith("$"):
            head, *path = word.split(".")
            if head == "$":
                return _path(_Value("", "root"), path)
            if head not in self._scope.names:
                msg = f"{head} is not known here"
                raise ValueError(msg)
            return _path(self._scope.names[head], path)
        if word.startswith("."):
            return _path(self._scope.dot, word[1:].split("."))
        return _call(word, [])

    def _take(self, sign: str) -> bool:
        there = self._at < len(self._tokens) and self._tokens[self._at] == sign
        self._at += there
        return there


_REMOVE = ".Remove"


def _path(value: _Value, names: Sequence[str]) -> _Value:
    """A field of a field of `value`."""
    for name in names:
        value = _field(value, name)
    return value


def _field(value: _Value, name: str) -> _Value:
    if value.kind == "root" and name in _ROOT:
        return _Value(*_ROOT[name])
    if value.kind == "alert" and name in _ALERT:
        own, kind = _ALERT[name]
        return _Value(f"{value.code}.{own}", kind)
    if value.kind == "alerts" and value.code == "alerts" and name in {"Firing", "Resolved"}:
        return _Value(name.lower(), "alerts")
    if value.kind == "pair" and name in {"Name", "Value"}:
        return _Value(f"{value.code}{name[0].lower()}", "text")
    if value.kind == "labels":
        if name == "SortedPairs":
            return _Value(f"({value.code} | pairs)", "pairs")
        if name == "Remove":
            return _Value(value.code + _REMOVE, "labels")
        if name not in {"Names", "Values"}:
            return _Value(f"{value.code}[{name!r}]", "text")
    msg = f".{name} has no counterpart"
    raise ValueError(msg)


_CALLS = {
    "join": (2, "({1} | join({0}))", "text"),
    "match": (2, "({1} | match({0}))", "flag"),
    "reReplaceAll": (3, "({2} | reReplaceAll({0}, {1}))", "text"),
    "len": (1, "({0} | length)", "number"),
    "not": (1, "(not {0})", "flag"),
    "safeHtml": (1, "{0}", "text"),
    "index": (2, "{0}[{1}]", "text"),
    "toUpper": (1, "({0} | toUpper)", "text"),
    "toLower": (1, "({0} | toLower)", "text"),
    "title": (1, "({0} | title)", "text"),
    "trimSpace": (1, "({0} | trimSpace)", "text"),
    "eq": (2, "({0} == {1})", "flag"),
    "ne": (2, "({0} != {1})", "flag"),
    "lt": (2, "({0} < {1})", "flag"),
    "le": (2, "({0} <= {1})", "flag"),
    "gt": (2, "({0} > {1})", "flag"),
    "ge": (2, "({0} >= {1})", "flag"),
}
"""By function of Alertmanager's: how many values it takes, how DOS writes it, and what it is."""


def _call(name: str, given: list[_Value]) -> _Value:
    """A function of Alertmanager's with its arguments."""
    codes = [_code(one) for one in given]
    if name in {"and", "or"} and len(given) >= 2:
        return _Value(f"({f' {name} '.join(codes)})", given[-1].kind)
    if name == "stringSlice" and given:
        return _Value(", ".join(codes), "texts")
    if name not in _CALLS:
        msg = f"the function {name} has no counterpart"
        raise ValueError(msg)
    count, form, kind = _CALLS[name]
    if len(given) != count:
        msg = f"{name} takes {count} values"
        raise ValueError(msg)
    return _Value(form.format(*codes), kind)


def _code(value: _Value) -> str:
    """What it is written as where it is tested or handed on."""
    if value.kind == "root":
        msg = "the dot is the whole notification here, which is no value"
        raise ValueError(msg)
    return value.code


def _literal(token: str) -> str:
    """A text of Go's as one of Jinja's."""
    if token[0] == "`":
        text = token[1:-1]
    else:
        known = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}
        text = re.sub(r"\\(.)", lambda one: known.get(one[1], one[0]), token[1:-1])
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return "'" + escaped.replace("\r", "\\r").replace("\t", "\\t") + "'"


def _shown(value: _Value) -> str:
    if value.kind in {"text", "number"}:
        return value.code
    if value.kind == "flag":
        return f"'true' if {value.code} else 'false'"
    msg = f"{value.code or '.'} is not a text"
    raise ValueError(msg)
