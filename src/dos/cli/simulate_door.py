"""The way into a simulation that runs elsewhere: its control endpoint, found by asking.

Two kinds of door look alike from here. An exporter (or the testbed) has `/faults` and `/actions`;
DOS has the same below `/api/v1/simulation`, where the source is named too if there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx2

from dos.kit.errors import PermanentError, TransientError

USUAL = ("http://127.0.0.1:9100", "http://127.0.0.1:8000")
"""Where `dos simulate export` and `dos serve` listen when nothing else is said."""
_API = "/api/v1/simulation"
_SECONDS = 10.0
_NO_SIMULATOR = "urn:dos:problem:no-simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What a simulation has been through, as its door tells."""

    faults: Sequence[dict[str, Any]]
    actions: Sequence[dict[str, Any]]


class Door:
    """An open way to one simulation; close it after use.

    Args:
        client: Speaks to the server.
        root: What the paths of the control endpoint begin with.
        is_dos: Whether it is DOS, rather than an exporter.
    """

    def __init__(self, client: httpx2.Client, root: str, *, is_dos: bool) -> None:
        self._client = client
        self._root = root
        self._is_dos = is_dos

    @property
    def described(self) -> str:
        """For people: what was found where."""
        kind = "DOS" if self._is_dos else "exporter"
        return f"{kind} at {self._client.base_url}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def inject(self, fault: dict[str, Any], source: str | None) -> dict[str, Any]:
        """Break something; the fault as the simulation has it.

        Raises:
            PermanentError: It was refused; the message is the server's.
            TransientError: The server does not answer, or not now.
        """
        return self._post("/faults", fault, source)

    def act(self, action: dict[str, Any], source: str | None) -> dict[str, Any]:
        """Take a remediation; raises as `inject`."""
        return self._post("/actions", action, source)

    def clear(self, source: str | None) -> int:
        """Let all faults recover, and say how many there were; raises as `inject`."""
        given = {"source": source} if self._is_dos and source else None
        answer = self._ask("DELETE", "/faults", params=given)
        if self._is_dos:
            return len(answer["items"])
        return sum(one.get("end") is None for one in answer["faults"])

    def happened(self, source: str | None) -> Happened:
        """All faults and actions so far; raises as `inject`."""
        answer = self._ask("GET", "" if self._is_dos else "/faults")
        if not self._is_dos:
            actions = self._client.get(f"{self._root}/actions")
            known = actions.json()["actions"] if actions.status_code == HTTPStatus.OK else []
            return Happened(faults=answer["faults"], actions=known)
        simulators = [one for one in answer["simulators"] if source in {None, one["source"]}]
        return Happened(
            faults=[fault for one in simulators for fault in one["faults"]],
            actions=[action for one in simulators for action in one["actions"]],
        )

    def _post(self, path: str, body: dict[str, Any], source: str | None) -> dict[str, Any]:
        asked = {name: value for name, value in body.items() if value is not None}
        if self._is_dos and source:
            asked["source"] = source
        if not self._is_dos:
            # An exporter of an older release and the testbed know it by that name only.
            asked["service"] = asked.pop("target")
        return self._ask("POST", path, json=asked)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, f"{self._root}{path}", **options)
        except httpx2.TransportError as error:
            msg = f"{self.described} does not answer: {error}."
            raise TransientError(msg) from error
        if answer.is_success:
            told: dict[str, Any] = answer.json()
            return told
        if answer.status_code == HTTPStatus.NOT_FOUND and not _problem(answer):
            msg = f"{self.described} has no {path.strip('/')}."
            raise PermanentError(msg, remedy="The testbed of real processes takes faults only.")
        raise PermanentError(_reason(answer, self.described))


def open_door(url: str | None, token: str | None) -> Door:
    """The way to the simulation behind `url`, or behind the first usual address that has one.

    Raises:
        PermanentError: What answers there is no simulation.
        TransientError: Nothing answers.
    """
    refused: list[str] = []
    for base in (url,) if url is not None else USUAL:
        client = httpx2.Client(
            base_url=_base(base),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_SECONDS,
            trust_env=False,
        )
        try:
            return _recognise(client)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            client.close()
            refused.append(f"{base} ({error})")
        except PermanentError:
            client.close()
            raise
    msg = f"No simulation answers at {' or '.join(refused)}."
    remedy = "Start one with `dos simulate export`, `dos demo` or `dos serve`, or name it by --url."
    raise TransientError(msg, remedy=remedy)


def _base(url: str) -> str:
    """`url` without the path of the control endpoint, should somebody have copied it whole."""
    base = url if "://" in url else f"http://{url}"
    for ending in ("/", "/faults", "/actions", _API):
        base = base.removesuffix(ending)
    return base


def _recognise(client: httpx2.Client) -> Door:
    answer = client.get(_API)
    if answer.is_success:
        return Door(client, _API, is_dos=True)
    if _problem(answer).get("type") == _NO_SIMULATOR:
        raise PermanentError(_reason(answer, f"DOS at {client.base_url}"))
    answer = client.get("/faults")
    if answer.is_success:
        return Door(client, "", is_dos=False)
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise PermanentError(_reason(answer, f"exporter at {client.base_url}"))
    msg = f"What answers at {client.base_url} is neither an exporter of the simulator nor DOS."
    raise PermanentError(msg, remedy="Name the right address by --url.")


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    """The problem document in `answer`; empty when there is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(answer: httpx2.Response, where: str) -> str:
    detail = _problem(answer).get("detail")
    return f"{where}: {detail or f'refused with status {answer.status_code}.'}"
