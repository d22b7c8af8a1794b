"""Slack's Web API: one method at a time, and what its refusals mean.

Slack answers 200 also when it refuses; then `ok` is false and `error` one word. What it says beside
that is not shown: it may repeat what was sent.

Sources: https://docs.slack.dev/apis/web-api/ for requests and answers,
https://docs.slack.dev/apis/web-api/rate-limits for 429, and the pages of the methods for errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from dos.alerting.outgoing import Answer, OutgoingClient, refusal
from dos.kit.clock import Clock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.secret import Secret

Said = Mapping[str, Any]
"""What Slack answered."""

_MOST = 8 * 1024 * 1024
"""Bytes of an answer. A page of history is 100 messages, each at most some 16 KB of text."""
_PAGE = 100

_PASSING = frozenset(
    {
        "fatal_error",
        "internal_error",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_LIMITED = frozenset({"rate_limited", "ratelimited"})
_AGAIN = "Copy the bot token (xoxb-…) of the app once more, from OAuth & Permissions."
_INVITE = "Invite the app into the channel with /invite, and write its id (C…) as channel."
_REMEDIES = {
    "account_inactive": _AGAIN,
    "invalid_auth": _AGAIN,
    "not_authed": _AGAIN,
    "token_expired": _AGAIN,
    "token_revoked": _AGAIN,
    "not_allowed_token_type": _AGAIN,
    "channel_not_found": _INVITE,
    "not_in_channel": _INVITE,
    "is_archived": "Unarchive the channel in Slack, or write another one as channel.",
    "restricted_action": "Let the app post into this channel: an admin of Slack restricted it.",
    "missing_scope": "Add the scopes that are missing to the app, and install it once more.",
    "no_permission": "Add the scopes that are missing to the app, and install it once more.",
    "access_denied": "Ask an admin of Slack to approve the app.",
    "ekm_access_denied": "Ask an admin of Slack to approve the app.",
}
_REMEDY = "See what Slack says of this error at https://docs.slack.dev/reference/methods."


class BusyError(TransientError):
    """Slack did nothing, because it was asked too often."""


class RefusedError(PermanentError):
    """Slack did nothing, and says by one word why."""

    def __init__(self, message: str, *, code: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class SlackWeb:
    """Calls methods of the Web API.

    Args:
        url: Where they are, for example `https://slack.com/api`.
        token: The app's bot token.
        client: What posts.
        name: Name of the receiver, for messages.
        clock: For a `Retry-After` that is a date.
    """

    def __init__(
        self, url: str, token: Secret, client: OutgoingClient, *, name: str, clock: Clock
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._client = client
        self._name = name
        self._clock = clock

    async def write(self, method: str, arguments: Mapping[str, object]) -> Said:
        """Call a method that takes JSON; raises as `_call`."""
        # Half a surrogate pair has no encoding; JSON writes it as an escape, which Slack refuses.
        content = json.dumps(arguments, ensure_ascii=False).encode(errors="replace")
        return await self._call(method, content, "application/json; charset=utf-8")

    async def read(self, method: str, arguments: Mapping[str, str]) -> Said:
        """Call a method that reads: not each of them takes JSON. Raises as `_call`."""
        return await self._call(
            method, urlencode(arguments).encode(), "application/x-www-form-urlencoded"
        )

    async def pages(
        self, method: str, arguments: Mapping[str, str], rows: str, most: int
    ) -> AsyncIterator[Said]:
        """What a method lists, at most `most` pages of it; raises as `_call`."""
        cursor = ""
        for _ in range(most):
            asked = {**arguments, "limit": str(_PAGE), **({"cursor": cursor} if cursor else {})}
            said = await self.read(method, asked)
            found = said.get(rows)
            for one in found if isinstance(found, list) else ():
                if isinstance(one, dict):
                    yield one
            more = said.get("response_metadata")
            following = more.get("next_cursor") if isinstance(more, dict) else None
            if not isinstance(following, str) or not following:
                return
            cursor = following

    async def _call(self, method: str, content: bytes, kind: str) -> Said:
        """One request.

        Raises:
            BusyError: Nothing was done; Slack says when to come again.
            RefusedError: Nothing was done, and will not be.
            TransientError: No answer, or one that does not say whether it was done.
            PermanentError: What answered is not Slack, or may not be reached.
        """
        headers = {
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {self._token.reveal()}",
            "Content-Type": kind,
            "User-Agent": "dependency-ops-sentinel",
        }
        answer = await self._client.post(f"{self._url}/{method}", content, headers, most=_MOST)
        try:
            said = json.loads(answer.text)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict) and said.get("ok") is True and answer.status == 200:
            return said
        raise self._refused(method, answer, said if isinstance(said, dict) else {})

    def _refused(self, method: str, answer: Answer, said: Said) -> TransientError | PermanentError:
        code = _word(said.get("error"), r"[a-z_]{1,64}")
        host = urlsplit(self._url).hostname
        shown = f": {code}" if code else ""
        if code == "missing_scope" and (needed := _word(said.get("needed"), r"[a-z:,.]{1,200}")):
            shown += f" ({needed})"
        message = f"Receiver {self._name}: {host} answered {method} with {answer.status}{shown}."
        if answer.status == 429 or code in _LIMITED:
            limited = refusal(
                replace(answer, status=429), message, remedy="", now=self._clock.now()
            )
            return BusyError(message, retry_after=getattr(limited, "retry_after", None))
        if code in _PASSING:
            return TransientError(message)
        found = refusal(answer, message, remedy=_REMEDY, now=self._clock.now())
        if isinstance(found, TransientError):
            return found
        if code:
            return RefusedError(message, code=code, remedy=_REMEDIES.get(code, _REMEDY))
        if answer.status == 200:
            return TransientError(f"{message.rstrip('.')}, and not as Slack does.")
        return PermanentError(
            message, remedy="Check that the receiver's api_url is that of Slack's Web API."
        )


def _word(value: object, pattern: str) -> str:
    """`value`, if it has no room for what else might stand there."""
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else ""
