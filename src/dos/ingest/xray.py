"""Names of nodes in AWS X-Ray's service graph, as recordings of it use them.

X-Ray names a node `name_type`. The type is the resource type where the service sends its own
segments (`AWS::ECS::Fargate`), `client` for who begins a trace, and `remote` for an address that
is known only from those who call it: a third party, or a load balancer in front of a service that
has a node of its own (AWS, *X-Ray Developer Guide*, "Segment documents" and "Service graph").
"""

from __future__ import annotations

from dos.model.entity import EntityKind

_KINDS = (
    ("_remote", EntityKind.EXTERNAL),
    ("_Database::SQL", EntityKind.DATABASE),
    ("_AWS::DynamoDB::Table", EntityKind.DATABASE),
    ("_AWS::RDS::DBInstance", EntityKind.DATABASE),
    ("_AWS::ElastiCache::CacheCluster", EntityKind.CACHE),
    ("_AWS::SQS::Queue", EntityKind.QUEUE),
    ("_AWS::ApiGateway::Stage", EntityKind.GATEWAY),
    ("_AWS::ElasticLoadBalancingV2::LoadBalancer", EntityKind.GATEWAY),
)
_SERVICES = (
    "_AWS::ECS::",
    "_AWS::EC2::",
    "_AWS::Lambda",
    "_AWS::ElasticBeanstalk::",
    "_AWS::EKS::",
)


def kind_of(node: str) -> EntityKind:
    """What a node is, by its name; unknown for names that are not X-Ray's.

    >>> kind_of("payment.example.com_remote"), kind_of("payment")
    (<EntityKind.EXTERNAL: 'external'>, <EntityKind.UNKNOWN: 'unknown'>)
    """
    for ending, kind in _KINDS:
        if node.endswith(ending):
            return kind
    return EntityKind.SERVICE if any(one in node for one in _SERVICES) else EntityKind.UNKNOWN
