"""People's own texts of notifications: templates, in a sandbox.

    subject: "{{ commonLabels.alertname }} in {{ commonLabels.service }}"

The language is Jinja's, the names are Alertmanager's. A template can only look at the notification
and call the functions below: there are no variables of its own, no macros, no arithmetic and no
imports, and a loop goes over what the notification has. So no template can hang DOS or fill its
memory, whoever wrote it, and whatever stands in an alert. One that fails is replaced by DOS's own
words: nobody misses an alert because of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any

import re2
from jinja2 import (
    ChainableUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    nodes,
    pass_context,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dos.alerting.message import Worded, body_of, subject_of
from dos.kit import log
from dos.kit.clock import to_rfc3339
from dos.model.alert import Alert, AlertState, Notification

_LONGEST = 4_000
"""Characters of a template."""
_MOST = 20_000
"""Characters of what it becomes."""
_ALERTS = 50
"""Alerts of a group that a template is shown."""
_PAIRS = 50
_VALUE = 2_000
_ROUNDS = 1_000
"""Rounds of all loops of a template together."""
_LOOPS = 2
"""Loops within each other: alerts, and their labels."""
_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.If,
    nodes.CondExpr,
    nodes.For,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Test,
    nodes.Tuple,  # `for name, value in labels | pairs`
    nodes.Keyword,
)
_TESTS = frozenset({"defined", "undefined", "none", "equalto", "eq", "ne", "in"})
_logger = log.get("alerting")


class _Undefined(ChainableUndefined):
    """What is not there is empty, also in comparisons and loops."""


def _text(value: object) -> str:
    return "" if isinstance(value, _Undefined) or value is None else str(value)[:_MOST]


def _replaced(text: object, pattern: str, by: str = "") -> str:
    options = re2.Options()
    options.log_errors = False
    places = re.sub(r"\$\{?(\d)\}?", r"\\\1", by)  # Go writes $1 where RE2 has \1
    return str(re2.compile(pattern, options).sub(places, _text(text)))[:_MOST]


def _matches(text: object, pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    return bool(re2.compile(pattern, options).search(_text(text)))


def _joined(values: object, by: str = ", ") -> str:
    if isinstance(values, Mapping):
        values = [f"{name}={value}" for name, value in values.items()]
    found = values if isinstance(values, list | tuple) else []
    return by[:100].join(_text(one)[:_VALUE] for one in found[:_ALERTS])[:_MOST]


def _pairs(values: object) -> list[tuple[str, str]]:
    return list(values.items()) if isinstance(values, Mapping) else []


def _without(values: object, *names: str) -> dict[str, str]:
    known = values if isinstance(values, Mapping) else {}
    return {name: value for name, value in known.items() if name not in names}


def _default(value: object, other: str = "") -> object:
    return value if _text(value) else other


def _cut(text: object, most: int) -> str:
    return _text(text)[: max(0, most)]


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "cut": _cut,
    "default": _default,
    "join": _joined,
    "length": lambda value: len(value) if isinstance(value, list | dict | str) else 0,
    "match": _matches,
    "pairs": _pairs,
    "reReplaceAll": _replaced,
    "title": lambda value: re.sub(r"\b[a-z]", lambda one: one[0].upper(), _text(value)),
    "toLower": lambda value: _text(value).lower(),
    "toUpper": lambda value: _text(value).upper(),
    "trimSpace": lambda value: _text(value).strip(),
    "without": _without,
}
"""Alertmanager's functions under their names, and what its methods of labels do."""


@pass_context
def _some(context: Context, values: object) -> list[Any]:
    """What a loop goes over: a list or the names of labels, and never a text."""
    found = list(values)[:_ALERTS] if isinstance(values, list | dict) else []
    left: list[int] = context[_BUDGET]
    left[0] -= len(found)
    if left[0] < 0:
        msg = f"more than {_ROUNDS} rounds of loops"
        raise ValueError(msg)
    return found


_BUDGET, _SOME = "_budget", "_some"


class _Environment(ImmutableSandboxedEnvironment):
    """No globals, and the filters above only."""

    def __init__(self) -> None:
        super().__init__(undefined=_Undefined, autoescape=False, keep_trailing_newline=False)
        self.globals.clear()
        self.filters.clear()
        self.filters.update({**_FILTERS, _SOME: _some})


_ENVIRONMENT = _Environment()


def checked_template(source: str) -> str:
    """`source` as it is, if it is a template that may be used.

    Raises:
        ValueError: It is not; says which line and why.
    """
    if len(source) > _LONGEST:
        msg = f"a template has at most {_LONGEST} characters"
        raise ValueError(msg)
    try:
        _compiled(source)
    except TemplateSyntaxError as error:
        msg = f"line {error.lineno} of the template: {error.message}"
        raise ValueError(msg) from None
    except RecursionError:
        msg = "the template goes too deep"
        raise ValueError(msg) from None
    return source


def _compiled(source: str) -> Template:
    parsed = _ENVIRONMENT.parse(source)
    _check(parsed, loops=0)
    for loop in parsed.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _SOME, [], [], None, None)
    return _ENVIRONMENT.from_string(parsed)


def _check(node: nodes.Node, loops: int) -> None:
    """Refuse what is not allowed in a template."""
    if type(node) not in _ALLOWED:
        kind = type(node).__name__.lower()
        msg = f"line {node.lineno} of the template: there is no {kind} in templates"
        raise ValueError(msg)
    if isinstance(node, nodes.For):
        loops += 1
        if loops > _LOOPS or node.recursive:
            msg = f"line {node.lineno} of the template: at most {_LOOPS} loops within each other"
            raise ValueError(msg)
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
        known = ", ".join(sorted(_FILTERS))
        msg = f"line {node.lineno} of the template: no function {node.name!r}; there are {known}"
        raise ValueError(msg)
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        msg = f"line {node.lineno} of the template: there is no test {node.name!r}"
        raise ValueError(msg)
    for child in node.iter_child_nodes():
        _check(child, loops)


class Words:
    """The texts of one receiver.

    Args:
        subject: Template of the subject; empty: DOS's own words.
        text: Template of the text below it.
    """

    def __init__(self, subject: str = "", text: str = "") -> None:
        self._subject = _compiled(checked_template(subject)) if subject else None
        self._text = _compiled(checked_template(text)) if text else None

    def of(self, notification: Notification) -> Notification:
        """`notification` in these words."""
        if self._subject is None and self._text is None:
            return notification
        facts = facts_of(notification)
        return Worded(
            **{one.name: getattr(notification, one.name) for one in fields(Notification)},
            own_subject=" ".join(self._rendered(self._subject, facts, notification).split()),
            own_text=self._rendered(self._text, facts, notification).strip(),
        )

    @staticmethod
    def _rendered(
        template: Template | None, facts: Mapping[str, Any], notification: Notification
    ) -> str:
        if template is None:
            return ""
        parts: list[str] = []
        size = 0
        try:
            for part in template.generate({**facts, _BUDGET: [_ROUNDS]}):
                parts.append(part[: _MOST - size])
                size += len(parts[-1])
                if size >= _MOST:
                    break
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, re2.error) as e:
            _logger.warning(
                "template_failed", receiver=notification.receiver, error=f"{type(e).__name__}: {e}"
            )
            return ""
        return "".join(parts)


def facts_of(notification: Notification) -> dict[str, Any]:
    """What a template is shown, under Alertmanager's names."""
    alerts = [_alert(one) for one in islice(notification.alerts, _ALERTS)]
    return {
        "receiver": notification.receiver,
        "status": notification.state.value,
        "severity": min(one.severity for one in notification.alerts).value,
        "groupLabels": _shown(notification.group),
        "commonLabels": _common(one.labels for one in notification.alerts),
        "commonAnnotations": _common(one.annotations for one in notification.alerts),
        "alerts": alerts,
        "firing": [one for one in alerts if one["status"] == AlertState.FIRING.value],
        "resolved": [one for one in alerts if one["status"] == AlertState.RESOLVED.value],
        "count": len(notification.alerts),
        "own_subject": subject_of(notification),
        "own_text": body_of(notification),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "status": alert.state.value,
        "severity": alert.severity.value,
        "labels": _shown(alert.labels),
        "annotations": _shown(alert.annotations),
        "startsAt": to_rfc3339(alert.starts_at),
        "endsAt": "" if alert.ends_at is None else to_rfc3339(alert.ends_at),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _shown(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value[:_VALUE] for name, value in islice(pairs, _PAIRS)}


def _common(all_pairs: Iterable[Iterable[tuple[str, str]]]) -> dict[str, str]:
    common: set[tuple[str, str]] | None = None
    for pairs in all_pairs:
        common = set(pairs) if common is None else common & set(pairs)
    return _shown(sorted(common or ()))
