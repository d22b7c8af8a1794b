"""From Alertmanager's receivers to DOS's: what `dos config import` writes.

Routes, inhibition and time intervals stay in Alertmanager's file, which DOS reads as it is. What is
taken over here are the channels: each becomes a receiver of DOS, with the name of Alertmanager's
receiver or, where that has several, with the kind behind it (`team/slack`). What DOS does
differently or has not is said, not guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dos.alerting.alertmanager import AlertmanagerConfig
from dos.alerting.gotemplate import translated
from dos.alerting.words import checked_template

Keys = dict[str, Any]

_TEXTS = frozenset(
    {
        "actions", "body", "class", "client", "client_url", "color", "component", "custom_details",
        "description", "details", "entity", "fallback", "fields", "footer", "group", "headers",
        "html", "icon_emoji", "icon_url", "image_url", "images", "link_names", "links", "message",
        "mrkdwn_in", "note", "pretext", "priority", "severity", "short_fields", "source",
        "subject", "summary", "tags", "text", "thumb_url", "title", "title_link", "username",
    }
)  # fmt: skip
"""Keys that say how a notification looks: DOS has its own words."""
_QUIET = frozenset({"send_resolved", "max_alerts", "timeout", "update_alerts"})
"""Keys that need no word: DOS tells every end, and all of a group."""
_SECRET_KEYS = frozenset({"password", "webhook_url", "routing_key", "api_key", "authorization"})


@dataclass(slots=True)
class Imported:
    """What was taken over."""

    receivers: list[Keys] = field(default_factory=list)
    """Entries of `alerting.receivers`; secrets are left out, their files named."""
    secrets: dict[str, str] = field(default_factory=dict)
    """By name of the file that is to hold it: what stood in Alertmanager's file."""
    notes: list[str] = field(default_factory=list)
    """What was not taken over, and what to do about it."""


def imported(
    config: AlertmanagerConfig, secrets_dir: str, templates: Mapping[str, str] | None = None
) -> Imported:
    """Receivers of DOS for those of Alertmanager's file.

    Args:
        config: The file.
        secrets_dir: Where files with secrets are going to be, as the configuration names it.
        templates: What its files of templates define, by name.
    """
    made = Imported()
    for receiver in config.receivers:
        kinds = Counter(kind for kind, _ in receiver.channels)
        seen: Counter[str] = Counter()
        for kind, keys in receiver.channels:
            seen[kind] += 1
            number = f"-{seen[kind]}" if kinds[kind] > 1 else ""
            name = receiver.name
            if len(receiver.channels) > 1:
                name = f"{receiver.name}/{kind}{number}"
            where = f"receivers: {receiver.name}: {kind}_configs[{seen[kind] - 1}]"
            channel = _Channel(dict(keys), config.global_, where, made.notes, templates or {})
            if kind not in _KINDS:
                known = "the type apprise reaches it" if kind in _BY_APPRISE else "DOS has no such"
                made.notes.append(f"{where}: not taken over; {known}.")
                continue
            found = _KINDS[kind](channel)
            if found is None:
                continue
            found |= {"name": name, **channel.words(*_WORDS.get(kind, ("", "")))}
            made.receivers.append(_without_secrets(found, secrets_dir, made))
            channel.tell_the_rest()
    return made


def _without_secrets(keys: Keys, secrets_dir: str, made: Imported) -> Keys:
    """`keys` with each secret as the name of a file."""
    kept: Keys = {"type": keys.pop("type"), "name": keys.pop("name")}
    for key, value in keys.items():
        if key in _SECRET_KEYS:
            file = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{kept['name']}-{key}")
            made.secrets[file] = str(value)
            kept[f"{key}_file"] = f"{secrets_dir}/{file}"
        else:
            kept[key] = value
    return kept


class _Channel:
    """The keys of one channel, of which those that were read are ticked off."""

    def __init__(
        self,
        keys: Keys,
        general: Mapping[str, Any],
        where: str,
        notes: list[str],
        templates: Mapping[str, str],
    ) -> None:
        self._templates = templates
        self._left = keys
        self._general = general
        self._where = where
        self._notes = notes

    def take(self, key: str, general: str = "") -> Any:
        """The value of a key, or that of `global`."""
        value = self._left.pop(key, None)
        return self._general.get(general) if value is None and general else value

    def secret(self, key: str, own: str, general: str = "") -> Keys:
        """A secret, as it is written or as the file that holds it."""
        value, file = self.take(key), self.take(f"{key}_file")
        if value is None and file is None and general:
            value, file = self._general.get(general), self._general.get(f"{general}_file")
        if file is not None:
            return {f"{own}_file": file}
        return {} if value is None else {own: value}

    def words(self, subject: str, text: str) -> Keys:
        """Texts of its own, in DOS's language; what cannot be said in it is noted and left."""
        headers = self._left.get("headers")
        if subject == "Subject" and isinstance(headers, dict):
            others = {one: text for one, text in headers.items() if one.lower() != "subject"}
            for one in headers.keys() - others.keys():
                self._left[subject] = headers[one]
            self._left["headers"] = others
            if not others:
                del self._left["headers"]
        found: Keys = {}
        for key, own, usual in (
            (subject, "subject", "{{ own_subject }}"),
            (text, "text", "{{ own_text }}"),
        ):
            source = self._left.get(key)
            if not isinstance(source, str):
                continue
            try:
                written = checked_template(translated(source, self._templates))
            except ValueError as error:
                self.note(f"{key}: not taken over, as {error}; DOS has its own words.")
            else:
                # What becomes nothing is not what DOS would say of itself.
                if re.sub(r"\s+", " ", written).strip() != usual:
                    found[own] = written or " "
            del self._left[key]
        return found

    def note(self, text: str) -> None:
        self._notes.append(f"{self._where}: {text}")

    def tell_the_rest(self) -> None:
        """Say which keys were not taken over."""
        texts = sorted(_TEXTS & self._left.keys())
        other = sorted(self._left.keys() - _TEXTS - _QUIET)
        if texts:
            self.note(f"{', '.join(texts)}: not taken over; DOS has its own words.")
        if other:
            self.note(f"{', '.join(other)}: not taken over; see the type's keys in DOS.")

    def needs(self, keys: Keys, *names: str) -> Keys | None:
        """`keys`, if they hold each of `names`, itself or as a file."""
        missing = [one for one in names if one not in keys and f"{one}_file" not in keys]
        if missing:
            self.note(f"not taken over: {', '.join(missing)} is missing.")
            return None
        return keys


def _given(**keys: Any) -> Keys:
    return {name.rstrip("_"): value for name, value in keys.items() if value is not None}


def _email(channel: _Channel) -> Keys | None:
    host, _, port = str(channel.take("smarthost", "smtp_smarthost") or "").rpartition(":")
    wanted = str(channel.take("require_tls", "smtp_require_tls") or "true").lower() != "false"
    tls = channel.take("tls_config") or {}
    to = str(channel.take("to") or "")
    password = channel.secret("auth_password", "password", "smtp_auth_password")
    user = channel.take("auth_username", "smtp_auth_username")
    keys = _given(
        type="email",
        to=[one.strip() for one in to.split(",") if one.strip()] or None,
        from_=channel.take("from", "smtp_from"),
        smarthost=host.strip("[]") or None,
        port=int(port) if port.isdecimal() else None,
        hello=channel.take("hello", "smtp_hello"),
        username=user,
        tls="implicit" if port == "465" else "starttls" if wanted else "none",
        ca_file=tls.get("ca_file"),
    )
    if user is None and password:
        channel.note("the password without a user is not taken over.")
    else:
        keys |= password
    return channel.needs(keys, "to", "from", "smarthost")


def _slack(channel: _Channel) -> Keys | None:
    keys = _given(type="slack") | channel.secret("api_url", "webhook_url", "slack_api_url")
    if "/api/chat.postMessage" in str(keys.get("webhook_url")):
        channel.note("not taken over: a bot token is `token` and `channel` of a slack receiver.")
        return None
    if channel.take("channel"):
        channel.note("channel: an incoming webhook belongs to one channel, which Slack knows.")
    return channel.needs(keys, "webhook_url")


def _pagerduty(channel: _Channel) -> Keys | None:
    if channel.take("service_key") or channel.take("service_key_file"):
        channel.note(
            "service_key is of version 1 of the Events API: make an integration of version 2 and "
            "give its routing_key."
        )
    keys = _given(type="pagerduty", url=channel.take("url", "pagerduty_url"))
    keys |= channel.secret("routing_key", "routing_key")
    return channel.needs(keys, "routing_key")


def _webhook(channel: _Channel) -> Keys | None:
    keys = _given(type="webhook", url=channel.take("url"))
    if channel.take("url_file"):
        channel.note("url_file: write the URL itself; a secret goes into `authorization_file`.")
    http = channel.take("http_config") or {}
    said = http.get("authorization") or {}
    token = said.get("credentials") or http.get("bearer_token")
    if token:
        keys["authorization"] = f"{said.get('type', 'Bearer')} {token}"
    elif http:
        channel.note("http_config: only authorization with credentials is taken over.")
    return channel.needs(keys, "url")


def _opsgenie(channel: _Channel) -> Keys | None:
    url = channel.take("api_url", "opsgenie_api_url")
    keys = _given(type="opsgenie", api_url=None if url is None else str(url).rstrip("/"))
    keys |= channel.secret("api_key", "api_key", "opsgenie_api_key")
    return channel.needs(keys, "api_key")


def _teams(channel: _Channel) -> Keys | None:
    keys = _given(type="msteams") | channel.secret("webhook_url", "webhook_url")
    return channel.needs(keys, "webhook_url")


_KINDS: Mapping[str, Callable[[_Channel], Keys | None]] = {
    "email": _email,
    "slack": _slack,
    "pagerduty": _pagerduty,
    "webhook": _webhook,
    "opsgenie": _opsgenie,
    "msteams": _teams,
    "msteamsv2": _teams,
}
_WORDS = {
    "email": ("Subject", "text"),
    "slack": ("title", "text"),
    "pagerduty": ("description", ""),
    "opsgenie": ("message", "description"),
    "msteams": ("title", "text"),
    "msteamsv2": ("title", "text"),
}
"""By kind: the keys of the subject and of the text below it."""
_BY_APPRISE = frozenset({"discord", "pushover", "rocketchat", "sns", "telegram", "webex"})
