"""Services over real HTTP: their work, what they say about it, and how they fail."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from tests.conftest import unused_port
from tests.unit.simulate.testbed.served import WHO, inject, service, value

COUNT = "http_server_request_duration_seconds_count"
CALLS = "http_client_request_duration_seconds_count"


def address(client: httpx2.AsyncClient) -> str:
    return client.base_url.netloc.decode()


async def test_a_call_goes_through_and_is_seen_from_both_ends(tmp_path: Path) -> None:
    async with (
        service("inventory", tmp_path) as inventory,
        service("catalog", tmp_path, {"inventory": address(inventory)}) as catalog,
    ):
        answer = await catalog.get("/articles", params=WHO)
        assert answer.status_code == 200
        assert len(answer.json()) == 30
        labels = {"http_route": "/articles", "http_response_status_code": "200"}
        assert await value(catalog, COUNT, http_request_method="GET", **labels) == 1
        assert await value(catalog, CALLS, server_address="inventory", error_type="") == 1
        assert await value(inventory, COUNT, http_route="/stock") == 1
        assert (
            await value(inventory, "db_client_operation_duration_seconds_count", error_type="") >= 2
        )
        assert await value(catalog, "process_resident_memory_bytes") > 1e7


async def test_a_callee_that_is_gone_makes_its_caller_fail(tmp_path: Path) -> None:
    nobody = {"inventory": f"127.0.0.1:{unused_port()}"}
    async with service("catalog", tmp_path, nobody) as catalog:
        answer = await catalog.get("/articles", params=WHO)
        assert (answer.status_code, answer.text) == (502, "CallError: inventory: ConnectError\n")
        assert (await catalog.get("/article", params=WHO)).status_code == 200
        assert await value(catalog, CALLS, error_type="ConnectError") == 1
        assert await value(catalog, COUNT, http_response_status_code="502") == 1


async def test_nobody_waits_for_a_message(tmp_path: Path) -> None:
    """An order goes through although no notification can be sent."""
    async with (
        service("cart", tmp_path) as cart,
        service("inventory", tmp_path) as inventory,
        service("payment", tmp_path) as payment,
    ):
        known = {"cart": cart, "inventory": inventory, "payment": payment}
        addresses = {name: address(client) for name, client in known.items()}
        addresses["notification"] = f"127.0.0.1:{unused_port()}"
        async with service("checkout", tmp_path, addresses) as checkout:
            assert (await checkout.post("/order", params=WHO)).status_code == 200
            for one in (cart, inventory, payment):
                assert await value(one, COUNT, http_response_status_code="200") == 1
            async with asyncio.timeout(10):
                while not await value(  # noqa: ASYNC110  nobody tells
                    checkout, CALLS, server_address="notification", error_type="ConnectError"
                ):
                    await asyncio.sleep(0.02)


async def test_messages_are_worked_on_after_the_answer(tmp_path: Path) -> None:
    async with service("notification", tmp_path) as notification:
        for _ in range(3):
            assert (await notification.post("/send", params=WHO)).status_code == 200
        async with asyncio.timeout(10):
            worked = "messaging_process_duration_seconds_count"
            while await value(notification, worked) < 3:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)
    mails = (tmp_path / "volumes" / "notification" / "sent.mbox").read_text()
    assert mails.count("To: user-1@shop.test") == 3


async def test_a_page_shows_what_the_callees_said(tmp_path: Path) -> None:
    async with (
        service("inventory", tmp_path) as inventory,
        service("cart", tmp_path) as cart,
        service("catalog", tmp_path, {"inventory": address(inventory)}) as catalog,
    ):
        addresses = {"catalog": address(catalog), "cart": address(cart)}
        async with service("frontend", tmp_path, addresses) as frontend:
            assert (await frontend.post("/add", params=WHO)).status_code == 200
            page = (await frontend.get("/browse", params=WHO)).json()
    assert page.count("<li>") == 31  # half the catalog, and the article in the cart
    assert page.endswith("<li>2</li></ul>")


async def test_injected_errors_are_answered_with_500(tmp_path: Path) -> None:
    async with service("payment", tmp_path) as payment:
        assert await inject(payment, type="errors", service="payment", severity=1) == 204
        answer = await payment.post("/charge", params=WHO)
        assert (answer.status_code, answer.text) == (500, "InjectedError: injected\n")
        headers = {"Authorization": "Bearer a-token"}
        assert (await payment.delete("/faults", headers=headers)).status_code == 204
        assert (await payment.post("/charge", params=WHO)).status_code == 200


async def test_a_full_disk_fails_orders_and_not_reads(tmp_path: Path) -> None:
    async with service("inventory", tmp_path) as inventory:
        fault = {"type": "disk_full", "service": "inventory", "severity": 1}
        assert await inject(inventory, **fault) == 204
        async with asyncio.timeout(30):
            answer = await inventory.post("/reserve", params=WHO)
            while answer.is_success:
                answer = await inventory.post("/reserve", params=WHO)
        assert answer.status_code == 500
        assert answer.text == "StoreError: sqlite INSERT: database or disk is full\n"
        assert (await inventory.get("/stock", params=WHO)).status_code == 200


@pytest.mark.parametrize(
    ("token", "fault", "status"),
    [
        ("guessed", {"type": "sleep", "service": "payment"}, 401),
        ("a-token", {"type": "sleep"}, 422),
        ("a-token", {"type": "disk_full", "service": "payment"}, 422),
        ("a-token", {"type": "sleep", "service": "x" * 5000}, 413),
    ],
)
async def test_faults_are_taken_from_the_supervisor_only(
    tmp_path: Path, token: str, fault: dict[str, object], status: int
) -> None:
    async with service("payment", tmp_path) as payment:
        assert await inject(payment, token, **fault) == status


async def test_a_request_without_its_parameters_is_refused(tmp_path: Path) -> None:
    async with service("payment", tmp_path) as payment:
        assert (await payment.post("/charge", params={"user": "x"})).status_code == 400
        assert (await payment.get("/charge", params=WHO)).status_code == 405
        assert (await payment.get("/healthz")).text == "ok\n"


async def test_spans_of_one_request_share_a_trace(tmp_path: Path) -> None:
    async with (
        service("inventory", tmp_path, ratio=1.0) as inventory,
        service("catalog", tmp_path, {"inventory": address(inventory)}, ratio=1.0) as catalog,
    ):
        await catalog.get("/articles", params=WHO)
    spans = [
        json.loads(line)
        for name in ("catalog", "inventory")
        for line in (tmp_path / "traces" / f"{name}.jsonl").read_text().splitlines()
    ]
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    by_kind = {
        (span["resource"]["attributes"]["service.name"], span["kind"]): span for span in spans
    }
    caller, callee = by_kind["catalog", "SpanKind.CLIENT"], by_kind["inventory", "SpanKind.SERVER"]
    assert callee["parent_id"] == caller["context"]["span_id"]
    assert callee["attributes"]["http.response.status_code"] == 200
