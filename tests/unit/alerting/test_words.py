"""Texts of one's own: what they can say, and what nobody can do with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dos.alerting.base import Receiver
from dos.alerting.mail import html_of, text_of
from dos.alerting.message import body_of, subject_of
from dos.alerting.notifiers.slack import Config, message
from dos.alerting.words import Words, checked_template
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity
from tests.unit.alerting.builders import at
from tests.unit.alerting.test_dispatch import Recorder, World
from tests.unit.alerting.test_pagerduty import grouped, life, posted

ATTACKS = (
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 99999999 }}",
    "{{ 'x' ~ 'y' }}",
    "{% set a = 'x' %}{{ a }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% for a in range(1000000000) %}{{ a }}{% endfor %}",
    "{% for a in alerts recursive %}{{ loop(alerts) }}{% endfor %}",
    "{% for a in alerts %}{% for b in a %}{% for c in b %}{% endfor %}{% endfor %}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ alerts.__len__() }}",
    "{{ status.upper() }}",
    "{{ lipsum() }}",
    "{{ status | attr('upper') }}",
    "{{ status | center(1000000000) }}",
    "{% include 'etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{% filter toUpper %}x{% endfilter %}",
    "{% with a = 1 %}{% endwith %}",
    "{{ [1, 2, 3] }}",
    "{{ {'a': 1} }}",
    "{{ status",
    "{% if %}",
    "{{ " + "(" * 500 + ")" * 500 + " }}",
    "x" * 4_001,
)


def group(count: int = 3) -> Notification:
    alerts = [
        posted(
            (("alertname", "Slow"), ("instance", f"db-{number}"), ("team", "ops")),
            (("summary", "It is slow."),),
            severity=Severity.SEV2,
        )
        for number in range(count)
    ]
    alerts[-1] = replace(alerts[-1], state=AlertState.RESOLVED, ends_at=at(60))
    return replace(grouped(alerts), group=(("alertname", "Slow"),))


def said(template: str, notification: Notification | None = None) -> str:
    return body_of(Words(text=template).of(notification or group()))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ status | toUpper }} {{ receiver }} {{ severity }} {{ count }}", "FIRING {r} sev2 3"),
        ("{{ commonLabels.alertname }}/{{ groupLabels['alertname'] }}", "Slow/Slow"),
        ("{{ commonAnnotations.summary }}{{ commonLabels.instance }}|", "It is slow.|"),
        ("{{ firing | length }} {{ resolved | length }}", "2 1"),
        ("{% for a in firing %}{{ a.labels.instance }} {% endfor %}", "db-0 db-1"),
        ("{% for a in alerts %}{{ a.status[0] | default('?') }}{% endfor %}", "ffr"),
        ("{{ commonLabels | without('team') | join('; ') }}", "alertname=Slow"),
        (
            "{% for n, v in commonLabels | pairs %}{{ n }}:{{ v }} {% endfor %}",
            "alertname:Slow team:ops",
        ),
        (
            "{{ 'db-7 is slow' | reReplaceAll('(\\\\w+)-(\\\\d)', '$2 of ${1}') }}",
            "7 of db is slow",
        ),
        ("{% if commonLabels.team == 'ops' and not nothing %}yes{% else %}no{% endif %}", "yes"),
        (
            "{{ 'a' if commonLabels.alertname | match('^S') else 'b' }}{{ 'hello' | title }}",
            "aHello",
        ),
        ("{{ commonLabels.nothing.at.all }}{{ x | default('none') }}", "none"),
        ("{{ ' a ' | trimSpace }}{{ 'abcdef' | cut(3) }}{{ 'AB' | toLower }}", "aabcab"),
        ("{# nothing #}{{ resolved[0].endsAt | cut(4) }}", "2026"),
        ("{{ own_subject }}", "[FIRING sev2] It is slow. (and 2 more)"),
    ],
)
def test_what_a_text_can_say(template: str, expected: str) -> None:
    assert said(template) == expected.replace("{r}", group().receiver)


@pytest.mark.parametrize("template", ATTACKS)
def test_what_could_do_harm_is_refused_when_it_is_read(template: str) -> None:
    with pytest.raises(ValueError, match=r"template"):
        checked_template(template)
    with pytest.raises(ValueError, match=r"template"):
        Receiver(name="a", text=template)


def test_what_stands_in_alerts_is_text() -> None:
    hostile = posted((("alertname", "{{ 7 }}{% include 'x' %}"), ("team", "<b>\ud800")))
    assert said("{{ commonLabels.alertname }}", grouped([hostile])) == "{{ 7 }}{% include 'x' %}"
    worded = Words(subject="{{ commonLabels.team }}\nnext").of(grouped([hostile]))
    assert subject_of(worded) == "<b>\ud800 next"
    assert "<b>" not in html_of(worded, "mail")


def test_a_text_that_fails_leaves_dos_its_own_words() -> None:
    plain = group()
    for template in (
        "{{ status | reReplaceAll('(', 'x') }}",
        "{{ status | cut('x') }}",
        "{{ status | join(5) }}",
        "{% for a in alerts %}{% for b in alerts %}.{% endfor %}{% endfor %}",
    ):
        assert said(template, group(40)) == body_of(group(40)), template
    assert Words().of(plain) is plain


def test_a_long_text_is_cut() -> None:
    big = posted((("alertname", "A"),), (("text", "x" * 100_000),))
    assert len(said("{{ commonAnnotations.text }}" * 140, grouped([big]))) == 20_000


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", "for", "a", "in", "alerts", "if", "endif", "endfor", "|",
             "toUpper", "join", "(", ")", "'x'", "commonLabels", ".", "team", "==", "not", "\n",
             "reReplaceAll", ",", "[0]", "pairs", "else"]
        ),
        max_size=25,
    )
)  # fmt: skip
def test_any_text_is_refused_or_said(pieces: list[str]) -> None:
    template = " ".join(pieces)
    try:
        words = Words(text=template)
    except ValueError:
        return
    assert len(body_of(words.of(group()))) <= 20_000


@pytest.mark.timeout(60)
def test_the_worst_that_is_allowed_ends() -> None:
    inner = "{{ a.labels.alertname | reReplaceAll('(a|b)*c', 'x') }}" * 30
    template = f"{{% for a in alerts %}}{{% for b in alerts %}}{inner}{{% endfor %}}{{% endfor %}}"
    assert said(template, group(30))


def test_channels_say_it_in_these_words() -> None:
    firing = life()[0]
    worded = Words(subject="Look: {{ commonLabels.service }}", text="*now*").of(firing)
    service = dict(firing.alert.labels)["service"]
    blocks = str(message(worded, Config(webhook_url=Secret("https://hooks.slack.com/services/x"))))
    assert f"Look: {service}" in blocks
    assert "*now*" in blocks
    assert f"Look: {service}" in html_of(worded, "mail")
    assert text_of(worded, "mail").startswith("*now*")


async def test_delivery_uses_the_words_of_the_receiver() -> None:
    one, other = Recorder(), Recorder()
    world = World({"one": one, "other": other})
    world.dispatcher.words = {"one": Words(subject="{{ receiver }}: {{ status }}")}
    async with world.running():
        await world.fire()
        await world.pass_time(5)
    assert subject_of(one.took[0]) == "one: firing"
    assert subject_of(other.took[0]).startswith("[FIRING")
