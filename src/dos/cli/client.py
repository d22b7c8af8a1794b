"""Commands that ask the running DOS over its API."""

from __future__ import annotations

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
    import httpx2

    from dos.app.settings_load import load
    from dos.kit.errors import PermanentError, TransientError

    server = load(config).settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  compared, not bound to
    base = url or f"http://{host}:{server.port}"
    headers = {"Authorization": f"Bearer {server.token.reveal()}"} if server.token else {}
    try:
        with httpx2.Client(base_url=base, timeout=30.0, headers=headers, trust_env=False) as client:
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
