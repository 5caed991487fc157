"""Appends and renames through boto3."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

MIB = 1024 * 1024


def test_a_log_that_grows(s3: Any, bucket: str) -> None:
    lines = [b"line %d\n" % number * 300 for number in range(40)]
    size_bytes = 0
    for line in lines:
        reply = s3.put_object(Bucket=bucket, Key="log", Body=line, WriteOffsetBytes=size_bytes)
        size_bytes += len(line)
        if size_bytes > len(line):
            assert reply["Size"] == size_bytes
    whole = b"".join(lines)
    got = s3.get_object(Bucket=bucket, Key="log")
    assert got["Body"].read() == whole
    assert got["ETag"].endswith('-40"')
    part = s3.get_object(Bucket=bucket, Key="log", Range="bytes=2500-3000")["Body"].read()
    assert part == whole[2500:3001]
    with pytest.raises(ClientError, match="InvalidWriteOffset"):
        s3.put_object(Bucket=bucket, Key="log", Body=b"x", WriteOffsetBytes=3)


def test_a_large_append(s3: Any, bucket: str) -> None:
    data = hashlib.shake_128(b"a").digest(9 * MIB)
    s3.put_object(Bucket=bucket, Key="key", Body=data)
    s3.put_object(Bucket=bucket, Key="key", Body=data, WriteOffsetBytes=len(data))
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == data * 2


def test_of_many_one_appends(s3: Any, bucket: str) -> None:
    """Each round several append at one offset: one has done so, the others are told."""
    done: list[tuple[int, bytes]] = []
    refused: set[str] = set()

    def write(offset: int, body: bytes) -> None:
        try:
            s3.put_object(Bucket=bucket, Key="key", Body=body, WriteOffsetBytes=offset)
            done.append((offset, body))
        except ClientError as error:
            refused.add(error.response["Error"]["Code"])

    for round_ in range(8):
        threads = [
            threading.Thread(target=write, args=(4 * round_, b"%d-%02d" % (number, round_)))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [offset for offset, _body in done] == [4 * round_ for round_ in range(8)]
    assert refused == {"InvalidWriteOffset"}
    whole = b"".join(body for _offset, body in done)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == whole


def test_a_rename(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="old name", Body=b"data", Metadata={"a": "b"})
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="old%20name", ClientToken="token")
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="old%20name", ClientToken="token")
    got = s3.get_object(Bucket=bucket, Key="new")
    assert (got["Body"].read(), got["Metadata"]) == (b"data", {"a": "b"})
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="old name")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.rename_object(Bucket=bucket, Key="x", RenameSource="missing")
    s3.put_object(Bucket=bucket, Key="other", Body=b"other")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.rename_object(Bucket=bucket, Key="other", RenameSource="new", DestinationIfNoneMatch="*")
