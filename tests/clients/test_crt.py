"""The C runtime's transfers: many ranges at once, in both directions.

boto3 hands its transfers to it for AWS's own endpoints alone; the manager that it would hand
them to takes any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from s3transfer.crt import (
    BotocoreCRTCredentialsWrapper,
    BotocoreCRTRequestSerializer,
    CRTTransferManager,
    create_s3_crt_client,
)

from tests.clients.endpoint import Endpoint
from tests.crash.tiny import pattern

MIB = 2**20
PART_BYTES = 5 * MIB


@contextmanager
def transfers(endpoint: Endpoint) -> Iterator[Any]:
    """A manager of transfers; what it was told is done when it is left, files in place too."""
    session = botocore.session.Session()
    session.set_credentials(endpoint.access_key, endpoint.secret_key)
    wanted = {"region_name": endpoint.region, "endpoint_url": endpoint.url}
    provider = BotocoreCRTCredentialsWrapper(session.get_credentials())
    client = create_s3_crt_client(
        region=endpoint.region,
        crt_credentials_provider=provider.to_crt_credentials_provider(),
        part_size=PART_BYTES,
        use_ssl=False,
    )
    with CRTTransferManager(client, BotocoreCRTRequestSerializer(session, wanted)) as manager:
        yield manager


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB, 40 * MIB + 7])
def test_a_file_up_and_down(
    endpoint: Endpoint, s3: Any, bucket: str, tmp_path: Path, size_bytes: int
) -> None:
    content = pattern(size_bytes, size_bytes)
    (tmp_path / "up").write_bytes(content)
    with transfers(endpoint) as manager:
        manager.upload(str(tmp_path / "up"), bucket, "a key").result()
        manager.download(bucket, "a key", str(tmp_path / "down")).result()
    assert (tmp_path / "down").read_bytes() == content
    assert s3.get_object(Bucket=bucket, Key="a key")["Body"].read() == content
    has_parts = "-" in s3.head_object(Bucket=bucket, Key="a key")["ETag"]
    assert has_parts == (size_bytes > PART_BYTES)
    with transfers(endpoint) as manager:
        manager.delete(bucket, "a key").result()
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
