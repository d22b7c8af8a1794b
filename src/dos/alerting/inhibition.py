"""Rules that keep alerts quiet while others fire, as in Alertmanager's `inhibit_rules`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dos.model.matchers import Matchers, all_match

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class InhibitRule:
    """While an alert fires that `source` matches, those that `target` matches are quiet.

    Only where both have the same values of the labels `equal`; one that is missing counts as empty.
    An alert that both sides match is never inhibited by one of which the same is true, so that a
    rule cannot silence everybody.
    """

    source: Matchers
    target: Matchers
    equal: tuple[str, ...] = ()

    def inhibits(self, source: Labels, target: Labels) -> bool:
        """Whether `target` is quiet because `source` fires."""
        if not (all_match(self.source, source) and all_match(self.target, target)):
            return False
        if any(source.get(name, "") != target.get(name, "") for name in self.equal):
            return False
        both = all_match(self.source, target) and all_match(self.target, source)
        return not both


class Inhibitor:
    """Several rules, and what fires now, sorted by what each rule compares."""

    def __init__(self, rules: Iterable[InhibitRule]) -> None:
        self._rules = tuple(rules)
        self._sources: list[dict[tuple[str, ...], list[Labels]]] = [{} for _ in self._rules]

    def watch(self, firing: Iterable[Labels]) -> None:
        """Become aware of what fires, and of nothing else. Cost: O(rules x alerts)."""
        self._sources = [{} for _ in self._rules]
        if not self._rules:
            return
        for labels in firing:
            for rule, sources in zip(self._rules, self._sources, strict=True):
                if all_match(rule.source, labels):
                    sources.setdefault(_values(rule, labels), []).append(labels)

    def by(self, target: Labels) -> Labels | None:
        """What keeps `target` quiet, if anything does."""
        for rule, sources in zip(self._rules, self._sources, strict=True):
            for source in sources.get(_values(rule, target), ()):
                if rule.inhibits(source, target):
                    return source
        return None


def _values(rule: InhibitRule, labels: Labels) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in rule.equal)
