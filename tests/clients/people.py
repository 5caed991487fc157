"""Users, roles and accounts of a server, and clients that sign as they do."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
from botocore.config import Config

from tests.clients.endpoint import Endpoint

MAIN = "000000000000"


def policy(action: Any, resource: Any = "*", effect: str = "Allow", **more: Any) -> str:
    """A document with one statement."""
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def policies(*documents: str) -> str:
    """One document with the statements of several."""
    statements = [each for text in documents for each in json.loads(text)["Statement"]]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def client_of(endpoint: Endpoint, service: str, keys: tuple[str, ...]) -> Any:
    """A boto3 client that tries once; `keys`: access key, secret, and a session's token."""
    config: dict[str, Any] = {"retries": {"total_max_attempts": 1}}
    if service == "s3":
        config |= {"s3": {"addressing_style": "path"}, "signature_version": "s3v4"}
    return boto3.client(
        service,
        endpoint_url=endpoint.url,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=keys[2] if len(keys) > 2 else None,
        region_name=endpoint.region,
        config=Config(connect_timeout=10, read_timeout=60, **config),
    )


def keys_of(credentials: dict[str, Any]) -> tuple[str, str, str]:
    """The keys of STS's answer."""
    return (
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    )


class People:
    """Makes them, each with a name that nobody else has."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.root = (endpoint.access_key, endpoint.secret_key)
        self.iam = self.client("iam")

    def client(self, service: str, keys: tuple[str, ...] | None = None) -> Any:
        """A client; the root's where no keys are given."""
        return client_of(self.endpoint, service, keys or self.root)

    def user(self, *documents: str) -> tuple[str, tuple[str, str]]:
        """A user with these policies: its name, and its keys."""
        name = f"user-{uuid.uuid4().hex[:12]}"
        self.iam.create_user(UserName=name)
        for number, document in enumerate(documents):
            self.iam.put_user_policy(
                UserName=name, PolicyName=f"p{number}", PolicyDocument=document
            )
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return name, (key["AccessKeyId"], key["SecretAccessKey"])
