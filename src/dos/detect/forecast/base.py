"""The configuration of forecast alarms."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dos.kit.clock import DAY, HOUR, MINUTE, SECOND
from dos.kit.duration import Duration
from dos.model.forecast import ForecastKind

_DAY, _HOUR, _MINUTE = DAY / SECOND, HOUR / SECOND, MINUTE / SECOND


class Horizon(BaseModel):
    """How long before the end somebody wants to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warning: Duration = Field(default=_DAY, gt=0)
    """A warning is raised when the early end of the interval is nearer than this."""
    critical: Duration = Field(default=4 * _HOUR, gt=0)
    """From here on it is urgent."""

    @model_validator(mode="after")
    def _in_order(self) -> Horizon:
        if self.critical > self.warning:
            msg = "critical must not be longer than warning"
            raise ValueError(msg)
        return self


class MemoryHorizon(Horizon):
    """Memory fills in minutes or hours rather than days."""

    warning: Duration = Field(default=_HOUR, gt=0)
    """A warning is raised when the early end of the interval is nearer than this."""
    critical: Duration = Field(default=15 * _MINUTE, gt=0)
    """From here on it is urgent."""


class CertificateHorizon(Horizon):
    """A new certificate has to be asked for."""

    warning: Duration = Field(default=14 * _DAY, gt=0)
    """A warning is raised when it expires sooner than this."""
    critical: Duration = Field(default=3 * _DAY, gt=0)
    """From here on it is urgent."""


class LimitRule(BaseModel):
    """A series with a limit that its name does not tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(min_length=1)
    """Name of the metric, on any entity."""
    limit: float = Field(gt=0, allow_inf_nan=False)
    """The value at which it is exhausted, in the unit of the series."""
    kind: ForecastKind = ForecastKind.QUOTA
    """Which horizons count; not `certificate`, which needs no limit."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> LimitRule:
        if self.kind is ForecastKind.CERTIFICATE:
            msg = "a certificate has no limit: its end is written in it"
            raise ValueError(msg)
        return self


class ForecastConfig(BaseModel):
    """Alarms before something runs out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    """Whether disks, memory, certificates and quotas are forecast."""
    disk: Horizon = Horizon()
    """File systems and volumes."""
    memory: MemoryHorizon = MemoryHorizon()
    """Memory of containers, processes and machines."""
    certificate: CertificateHorizon = CertificateHorizon()
    """TLS certificates and other things with a date of expiry."""
    quota: Horizon = Horizon()
    """Quotas, file descriptors, connection tables and everything else with a limit."""
    coverage: float = Field(default=0.8, ge=0.5, le=0.99)
    """Probability with which the interval holds the true time."""
    resolve_after: Duration = 5 * _MINUTE
    """An alarm ends when nothing has pointed to it for this long."""
    limits: tuple[LimitRule, ...] = ()
    """Series with limits that cannot be recognised by name."""

    def horizon(self, kind: ForecastKind) -> Horizon:
        """The horizons of `kind`."""
        match kind:
            case ForecastKind.DISK:
                return self.disk
            case ForecastKind.MEMORY:
                return self.memory
            case ForecastKind.CERTIFICATE:
                return self.certificate
            case ForecastKind.QUOTA:
                return self.quota
