"""Rules that keep alerts quiet while others fire, as in Alertmanager's `inhibit_rules`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dos.alerting.matchers import Matchers, all_match

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

    def by(self, target: Labels, firing: Iterable[Labels]) -> Labels | None:
        """The first of `firing` that keeps `target` quiet."""
        if not all_match(self.target, target):
            return None
        return next((one for one in firing if self.inhibits(one, target)), None)
