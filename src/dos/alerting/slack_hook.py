"""What Slack calls back with when somebody presses a button.

Sources: https://docs.slack.dev/authentication/verifying-requests-from-slack/ for the signature,
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload for what it says.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import parse_qs

from dos.alerting.reply import Reply
from dos.alerting.slack_blocks import ACKNOWLEDGE, SILENCE
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.secret import Secret

_WINDOW = 5 * MINUTE
"""How old, or how far ahead of our clock, a request may be: an old one may have been overheard."""
_BUTTONS = {ACKNOWLEDGE: 0.0, SILENCE: 3600.0}
"""Seconds of quiet that each asks for."""
_NAME = 100
_FIELDS = 20
_STRANGE = (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


def check_signature(
    secret: Secret | None, headers: Mapping[str, str], body: bytes, now: Millis
) -> None:
    """Whether the request comes from Slack, and of late.

    A request that is sent once more within the window is let through: to acknowledge twice is to
    acknowledge.

    Raises:
        PermissionError: It does not, or nobody can tell.
    """
    if secret is None or not secret:
        msg = "signing_secret is not configured, so no webhook can be believed"
        raise PermissionError(msg)
    stamp = headers.get("x-slack-request-timestamp", "")
    signed = b"v0:" + stamp.encode() + b":" + body
    right = f"v0={hmac.new(secret.reveal().encode(), signed, sha256).hexdigest()}".encode()
    if not hmac.compare_digest(headers.get("x-slack-signature", "").encode(), right):
        msg = "the signature is missing or wrong"
        raise PermissionError(msg)
    # Signed, it is Slack's; only then does its age say anything.
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 13):
        msg = "the signature has no time"
        raise PermissionError(msg)
    if abs(now - int(stamp) * SECOND) > _WINDOW:
        msg = "the signature is of another time; compare the clocks, if it was just sent"
        raise PermissionError(msg)


def reply_of(body: bytes) -> Reply | None:
    """What an interaction says; None: nothing that matters here.

    Raises:
        ValueError: It is none.
    """
    try:
        fields = parse_qs(body.decode(), max_num_fields=_FIELDS)
        if "payload" not in fields:
            msg = "there is no payload"
            raise ValueError(msg)
        said = json.loads(fields["payload"][0])
        if said["type"] != "block_actions":
            return None
        pressed = [one for one in said["actions"] if one["action_id"] in _BUTTONS]
        if not pressed:
            return None
        user = said["user"]
        who = user.get("username") or user.get("name") or user["id"]
        return Reply(
            key=str(pressed[0]["value"]),
            by=str(who)[:_NAME],
            at=Millis(round(float(pressed[0]["action_ts"]) * SECOND)),
            quiet=_BUTTONS[pressed[0]["action_id"]],
        )
    except _STRANGE as error:
        msg = f"not an interaction of Slack: {type(error).__name__}: {error}"
        raise ValueError(msg) from error
