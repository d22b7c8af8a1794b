"""What can be measured, by name.

`dos` is detection as it ships; `dos:NAME` the same with another file of `dos/detect/detectors`;
the others are peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dos.detect.engine import ROOM, DetectConfig
from dos.evaluate.series.scorer import FleetScorer, OneByOne, StreamScorer
from dos.evaluate.series.scorers.netdata import NetdataKMeans
from dos.evaluate.series.scorers.product import Product
from dos.evaluate.series.scorers.promql import PromqlAdaptive
from dos.evaluate.series.scorers.river import RiverGaussian, RiverTrees
from dos.evaluate.series.scorers.sigma import Chance, EwmaSigma, ThreeSigma
from dos.kit.errors import ConfigError
from dos.kit.plugins import names

PRODUCT = "dos"
DETECTOR = "dos:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A method that is not ours."""

    about: str
    build: Callable[[float], StreamScorer]
    installed: bool = True
    """Whether it comes with DOS; else it runs only when asked for by name."""


PEERS: dict[str, Peer] = {
    "promql": Peer(about="grafana/promql-anomaly-detection, adaptive rules", build=PromqlAdaptive),
    "netdata": Peer(about="k-means as Netdata's", build=NetdataKMeans),
    "3-sigma": Peer(about="mean and deviation of all points before", build=ThreeSigma),
    "ewma": Peer(about="the same, exponentially weighted", build=EwmaSigma),
    "chance": Peer(about="random numbers", build=Chance),
    "river-gaussian": Peer(about="River's GaussianScorer", build=RiverGaussian, installed=False),
    "river-hst": Peer(about="River's Half-Space Trees", build=RiverTrees, installed=False),
}


def known() -> list[str]:
    """Every name there is."""
    return [PRODUCT, *(f"{DETECTOR}{name}" for name in names(ROOM)), *PEERS]


def default() -> list[str]:
    """The product and the peers that come with DOS."""
    return [PRODUCT, *(name for name, peer in PEERS.items() if peer.installed)]


def about(name: str) -> str:
    """What the detector of that name is, in words."""
    if name in PEERS:
        return PEERS[name].about
    if name.startswith(DETECTOR):
        return f"DOS with the detector {name.removeprefix(DETECTOR)}"
    return "DOS as it ships"


def side_by_side(name: str) -> bool:
    """Whether it moves all series on together, so that it should be given many at once."""
    return name not in PEERS


def build(name: str) -> FleetScorer:
    """The scorer of that name.

    Raises:
        ConfigError: There is none.
        PermanentError: It needs a package that is not installed.
    """
    if name == PRODUCT:
        return Product(DetectConfig())
    if name.startswith(DETECTOR):
        return Product(DetectConfig(detector=name.removeprefix(DETECTOR), beside=(), closely=()))
    if name in PEERS:
        return OneByOne(PEERS[name].build)
    msg = f"There is no detector {name!r}."
    raise ConfigError(msg, remedy=f"Use one of: {', '.join(known())}.")
