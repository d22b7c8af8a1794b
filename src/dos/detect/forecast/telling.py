"""A forecast in words."""

from __future__ import annotations

from dos.kit.clock import SECOND
from dos.kit.duration import format_duration
from dos.model.forecast import Forecast, ForecastKind, ForecastReason, ForecastState

_NAMES = {
    ForecastKind.DISK: "disk",
    ForecastKind.MEMORY: "memory",
    ForecastKind.CERTIFICATE: "certificate",
    ForecastKind.QUOTA: "quota",
}
_ENDS = {
    ForecastKind.DISK: "full",
    ForecastKind.MEMORY: "full",
    ForecastKind.CERTIFICATE: "expired",
    ForecastKind.QUOTA: "used up",
}
_ENDINGS = {
    ForecastReason.RELIEVED: "was relieved",
    ForecastReason.LEVELLED_OFF: "no longer heads for its limit",
    ForecastReason.SILENT: "stopped reporting",
}


def about(seconds: float) -> str:
    """A time span with two figures or so: `45s`, `12m`, `9h30m`, `3d4h`."""
    steps = ((90.0, 1), (5_400.0, 60), (86_400.0, 600), (10 * 86_400.0, 3_600))
    unit = next((unit for below, unit in steps if seconds < below), 86_400)
    return format_duration(max(0, round(seconds / unit) * unit))


def title(forecast: Forecast) -> str:
    """`orders-db: disk full in 9h30m (disk_usage)`."""
    what = f"{forecast.entity}: {_NAMES[forecast.kind]}"
    metric = f" ({forecast.metric})"
    if forecast.state is ForecastState.OVER:
        return f"{what} {_ENDINGS.get(forecast.reason, 'is no longer forecast to end')}{metric}"
    if forecast.reason is ForecastReason.EXHAUSTED or forecast.exhausted_at is None:
        return f"{what} {_ENDS[forecast.kind]}{metric}"
    left = (forecast.exhausted_at - forecast.at) / SECOND
    return f"{what} {_ENDS[forecast.kind]} in {about(left)}{metric}"


def evidence(forecast: Forecast) -> str:
    """What was seen and what follows from it, with numbers, as a sentence."""
    if forecast.kind is ForecastKind.CERTIFICATE:
        return "The date of its expiry is written in it."
    used = f"{forecast.used:.1%} of the limit is used"
    if forecast.growth is None or forecast.exhausted_at is None:
        return f"{used}."
    hourly = forecast.growth * 3600.0
    growth = f"{hourly:.2%} an hour" if hourly < 0.5 else f"{hourly / 60.0:.2%} a minute"
    seen = f"growing by {growth} in the last {about(forecast.window)} ({forecast.points} points)"
    early = (forecast.earliest - forecast.at) / SECOND if forecast.earliest is not None else 0.0
    if forecast.latest is None:
        span = f"{about(early)} or later"
    else:
        span = f"{about(early)} to {about((forecast.latest - forecast.at) / SECOND)}"
    share = f"{forecast.coverage:.0%}"
    return f"{used}, {seen}; {_ENDS[forecast.kind]} in {span} with a probability of {share}."
