"""Commands that ask the running DOS over its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Of the running DOS. Default: as configured."),
]


def ask(
    method: str,
    path: str,
    url: str | None,
    config: Any,
    *,
    params: dict[str, str],
    body: object = None,
) -> Any:
    """One request to the running DOS.

    Raises:
        PermanentError: It refuses; the message says why.
        TransientError: It does not answer.
    """
    with asking(url, config) as request:
        return request(method, path, params, body)


@contextmanager
def asking(
    url: str | None, config: Any
) -> Iterator[Callable[[str, str, dict[str, str], object], Any]]:
    """A function `(method, path, params, body)` for many requests over one connection.

    It raises what `ask` raises.
    """
    import httpx2

    from dos.app.settings_load import load

    server = load(config).settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  compared, not bound to
    base = url or f"http://{host}:{server.port}"
    headers = {"Authorization": f"Bearer {server.token.reveal()}"} if server.token else {}
    with httpx2.Client(base_url=base, timeout=30.0, headers=headers, trust_env=False) as client:

        def request(method: str, path: str, params: dict[str, str], body: object) -> Any:
            return _answer(client, base, method, path, params, body)

        yield request


def _answer(
    client: Any, base: str, method: str, path: str, params: dict[str, str], body: object
) -> Any:
    import httpx2

    from dos.kit.errors import PermanentError, TransientError

    try:
        answer = client.request(method, path, params=params, json=body)
    except httpx2.HTTPError as error:
        msg = f"{base} does not answer: {error}."
        raise TransientError(msg, remedy="Start DOS, or name another with --url.") from error
    if answer.is_success:
        return answer.json()
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        detail = answer.json().get("detail", "")
        raise PermanentError(f"{base} refused: {detail}")
    msg = f"{base} answered {answer.status_code}: is this a DOS?"
    raise PermanentError(msg, remedy="Name the address of DOS with --url.")
