"""What people changed: a version, a setting, a flag. Each shows in the list of changes."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import STATEFUL, Kind, add_errors
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService

MOST_WORK = 1.8
"""By how much a regression of full severity multiplies the work of a request, beyond once."""
MOST_BROKEN = 0.12
"""Ratio of requests that such a regression fails."""
MOST_CALLS, MOST_FLAGGED = 2.5, 1.2
"""By how much a flag of full severity multiplies a request's calls and its work, beyond once."""


class DeployRegression(Kind):
    """A new version needs more CPU for the same request and fails some."""

    type = FaultType.DEPLOY_REGRESSION
    duration = (180, 420)
    ramp = 30.0
    rolls = True
    cures = frozenset({ActionKind.ROLLBACK})

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """What the team itself deploys."""
        return service.kind in {EntityKind.SERVICE, EntityKind.GATEWAY}

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """A deployment."""
        return ChangeKind.DEPLOY, f"Deploy {run.fault.target} {version}"

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """More work, and some errors."""
        place = physics.index[run.fault.target]
        effects.work[place] *= 1.0 + MOST_WORK * strength
        add_errors(effects, place, MOST_BROKEN * strength)


class ConfigChange(Kind):
    """Somebody sets a pool too small: requests queue for a connection while the CPU idles."""

    type = FaultType.CONFIG_CHANGE
    duration = (150, 360)
    ramp = 5.0
    cures = frozenset({ActionKind.ROLLBACK})

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """A new setting."""
        return ChangeKind.CONFIG, f"Configure {run.fault.target}: maximum connections lowered"

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Services and databases."""
        return service.kind in {EntityKind.SERVICE, EntityKind.GATEWAY, EntityKind.DATABASE}

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Shrink the pool to about what an average second needs, or less."""
        place = physics.index[run.fault.target]
        needed = float(physics.normal_in_flight[place] / physics.pool[place])
        left = min(1.0, needed * (1.25 - 0.9 * run.fault.severity))
        effects.pool[place] *= 1.0 - run.intensity(now) * (1.0 - left)


class FeatureFlag(Kind):
    """A flag turns on a path that calls more for each request."""

    type = FaultType.FEATURE_FLAG
    duration = (150, 360)
    ramp = 5.0
    cures = frozenset({ActionKind.FLAG_OFF})

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """A flag."""
        return ChangeKind.FLAG, f"Enable flag recommendations-v2 of {run.fault.target}"

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Services of the team's own."""
        return service.kind is EntityKind.SERVICE

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """More work here, more calls below."""
        effects.work[physics.index[run.fault.target]] *= 1.0 + MOST_FLAGGED * strength
        effects.wanted[physics.calls_from(run.fault.target)] *= 1.0 + MOST_CALLS * strength


class HarmlessDeploy(Kind):
    """A new version that is as good as the old one."""

    type = FaultType.HARMLESS_DEPLOY
    harmless = True
    duration = (60, 120)
    ramp = 0.0
    recovery = 0.0
    rolls = True

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """A deployment."""
        return ChangeKind.DEPLOY, f"Deploy {run.fault.target} {version}"

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """What the team itself deploys."""
        return service.kind not in STATEFUL | {EntityKind.EXTERNAL}

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Nothing beyond the rolling restart."""
