from __future__ import annotations

import pytest

from dos.ingest.xray import kind_of
from dos.model.entity import EntityKind


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ("api.example.com_remote", EntityKind.EXTERNAL),
        ("orders@db.internal_Database::SQL", EntityKind.DATABASE),
        ("carts_AWS::DynamoDB::Table", EntityKind.DATABASE),
        ("https://sqs.example/queue_AWS::SQS::Queue", EntityKind.QUEUE),
        ("Shop/prod_AWS::ApiGateway::Stage", EntityKind.GATEWAY),
        ("search_AWS::ECS::Fargate", EntityKind.SERVICE),
        ("resize_AWS::Lambda::Function", EntityKind.SERVICE),
        ("shop_client", EntityKind.UNKNOWN),
        ("cart", EntityKind.UNKNOWN),
        ("remote", EntityKind.UNKNOWN),
    ],
)
def test_kinds_by_name(node: str, kind: EntityKind) -> None:
    assert kind_of(node) is kind
