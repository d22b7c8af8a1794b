"""The testbed as Prometheus sees it: its targets, and a configuration that scrapes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from dos.kit.duration import format_duration

Target = dict[str, object]
"""One group of Prometheus' service discovery."""


def target(job: str, address: str, path: str = "/metrics") -> Target:
    """One process. Job and instance are its name, so that it keeps its series when it moves."""
    labels = {"job": job, "instance": job}
    if path != "/metrics":
        labels["__metrics_path__"] = path
    return {"targets": [address], "labels": labels}


def write_targets(path: Path, targets: Sequence[Target]) -> None:
    """A file for `file_sd_configs`; replaced in one step, because Prometheus may be reading."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(targets, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


def configuration(door: str, scrape_interval: float) -> str:
    """`prometheus.yml` for the testbed whose HTTP door is `door`, a URL.

    Args:
        door: Where `/targets` is.
        scrape_interval: Seconds between two scrapes; one may take 0.9 times as long.
    """
    content = {
        "global": {
            "scrape_interval": format_duration(scrape_interval),
            "scrape_timeout": format_duration(0.9 * scrape_interval),
        },
        "scrape_configs": [
            {
                "job_name": "testbed",
                "http_sd_configs": [{"url": f"{door}/targets", "refresh_interval": "5s"}],
            }
        ],
    }
    return yaml.safe_dump(content, sort_keys=False)
