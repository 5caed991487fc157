"""Real clients against a real server.

By default that is an `objstore serve` process with two workers, one for each process of the test
run; when the run ends it is stopped and its store checked whole.  OBJSTORE_TEST_ENDPOINT (with
OBJSTORE_TEST_ACCESS_KEY and OBJSTORE_TEST_SECRET_KEY) names another S3 server to run the same
tests against; buckets that they make there stay.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.block_services import assert_regions_whole, service_client
from tests.clients.endpoint import Endpoint, ServerProcess


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The server under test."""
    if url := os.environ.get("OBJSTORE_TEST_ENDPOINT"):
        environ = os.environ
        yield Endpoint(
            url, environ["OBJSTORE_TEST_ACCESS_KEY"], environ["OBJSTORE_TEST_SECRET_KEY"]
        )
        return
    from tests.stores import assert_whole

    server = ServerProcess(tmp_path_factory.mktemp("server"))
    try:
        yield server.endpoint
    finally:
        server.stop()
    assert_whole(server.data)


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint) -> Any:
    """A boto3 client, path style."""
    return endpoint.client()


@pytest.fixture
def make_bucket(s3: Any) -> Callable[[], str]:
    """Makes a bucket of a name that nobody else uses."""

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:20]}"
        s3.create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def bucket(make_bucket: Callable[[], str]) -> str:
    """A new, empty bucket."""
    return make_bucket()


@pytest.fixture(scope="session")
def block_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for EC2's and EBS's APIs; its regions are checked whole when it has stopped."""
    from tests.stores import assert_whole

    server = ServerProcess(tmp_path_factory.mktemp("blocks"))
    try:
        yield server
    finally:
        server.stop()
    assert_whole(server.data)
    assert_regions_whole(server.data)


@pytest.fixture(scope="session")
def ec2(block_server: ServerProcess) -> Any:
    """A boto3 client for EC2, its answers held against the model."""
    return service_client(block_server.endpoint, "ec2")


@pytest.fixture(scope="session")
def ebs(block_server: ServerProcess) -> Any:
    """A boto3 client for the EBS direct APIs, its answers held against the model."""
    return service_client(block_server.endpoint, "ebs")
