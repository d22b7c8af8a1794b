"""Who is on call, over HTTP."""

from __future__ import annotations

from fastapi.testclient import TestClient
from icalendar import Calendar

PATH = "/api/v1/oncall"


def test_who_is_on_call_now(client: TestClient) -> None:
    (schedule,) = client.get(PATH).json()["items"]
    assert schedule == {
        "name": "primary",
        "on_call": [
            {
                "person": "chat",
                "start": "2026-11-23T09:00:00.000Z",
                "end": "2026-11-30T09:00:00.000Z",
                "why": "layer 1",
            }
        ],
    }


def test_a_schedule_to_subscribe_to(client: TestClient) -> None:
    answer = client.get(f"{PATH}/primary.ics")
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    assert [str(one["SUMMARY"]) for one in events[:2]] == ["pager", "chat"]
    assert events[0]["DTSTART"].dt.isoformat() == "2026-11-16T09:00:00+00:00"
    assert len(events) == 14
    assert len({str(one["UID"]) for one in events}) == 14
    assert client.get(f"{PATH}/nights.ics").status_code == 404
