"""Snapshots read block by block: ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock.

A list gives a token for each block, good for 7 days, and one for the next page, good for
60 minutes (EBS user guide, "Read EBS snapshots").  Each is bound to what it was made for.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from typing import Any, Final

from blockdev.model import SNAPSHOT_BLOCK_BYTES, Snapshot
from objstore.aws.http import Reply
from objstore.aws.tokens import InvalidTokenError
from objstore.ebs.errors import invalid
from objstore.ebs.operation import Job
from objstore.ebs.request import MAX_INTEGER
from objstore.ebs.writing import checksum_headers, json_reply

BLOCK_TOKEN_S: Final = 7 * 24 * 3600
PAGE_TOKEN_S: Final = 60 * 60
LEAST_RESULTS: Final = 100
MOST_RESULTS: Final = 10_000
_NS_PER_S: Final = 1_000_000_000


def list_blocks(job: Job) -> Reply:
    """ListSnapshotBlocks."""
    request = job.request
    snapshot_id = request.snapshot_id(request.segments[1])
    limit, start_index = _limit(job), _start(job, f"blocks of {snapshot_id}")
    snapshot = _snapshot(job, snapshot_id)
    found = job.region.list_snapshot_blocks(snapshot_id, start_index=start_index)
    indexes = [index for index, _ in islice(found, limit + 1)]
    blocks = [
        {"BlockIndex": index, "BlockToken": _block_token(job, snapshot_id, index)}
        for index in indexes[:limit]
    ]
    following = indexes[limit] if len(indexes) > limit else None
    return _page(job, "Blocks", blocks, snapshot, f"blocks of {snapshot_id}", following)


def list_changed(job: Job) -> Reply:
    """ListChangedBlocks."""
    request = job.request
    second_id = request.snapshot_id(request.segments[1], "SecondSnapshotId")
    first_id = request.query.get("firstSnapshotId", "")
    if not first_id:
        raise invalid("FirstSnapshotId must be given with SecondSnapshotId.")
    request.snapshot_id(first_id, "FirstSnapshotId")
    purpose = f"changes from {first_id} to {second_id}"
    limit, start_index = _limit(job), _start(job, purpose)
    _snapshot(job, first_id)
    second = _snapshot(job, second_id)
    found = job.region.list_changed_blocks(first_id, second_id, start_index=start_index)
    entries = list(islice(found, limit + 1))
    blocks = []
    for index, first_digest, second_digest in entries[:limit]:
        block: dict[str, Any] = {"BlockIndex": index}
        if first_digest is not None:
            block["FirstBlockToken"] = _block_token(job, first_id, index)
        if second_digest is not None:
            block["SecondBlockToken"] = _block_token(job, second_id, index)
        blocks.append(block)
    following = entries[limit][0] if len(entries) > limit else None
    return _page(job, "ChangedBlocks", blocks, second, purpose, following)


def get_block(job: Job) -> Reply:
    """GetSnapshotBlock."""
    request = job.request
    snapshot_id = request.snapshot_id(request.segments[1])
    index = request.block_index()
    token = request.token("blockToken", "BlockToken", "INVALID_BLOCK_TOKEN")
    if not token:
        raise invalid("BlockToken is missing.", "INVALID_BLOCK_TOKEN")
    try:
        job.sealer.open(_block_purpose(snapshot_id, index), token)
    except InvalidTokenError:
        _snapshot(job, snapshot_id)  # that it is not there is told first
        raise invalid("The BlockToken is not valid.", "INVALID_BLOCK_TOKEN") from None
    data = bytes(job.region.get_snapshot_block(snapshot_id, index))
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"x-amz-data-length", b"%d" % len(data)),
        *checksum_headers(sha256(data).digest()),
    ]
    return Reply(200, data, headers)


def _snapshot(job: Job, snapshot_id: str) -> Snapshot:
    """A snapshot that can be read.

    Raises:
        ServiceError: ResourceNotFoundException, ValidationException.
    """
    (snapshot,) = job.region.describe_snapshots([snapshot_id])
    if snapshot.state != "completed":
        raise invalid(f"The snapshot {snapshot_id} is {snapshot.state}.", "INVALID_SNAPSHOT_ID")
    return snapshot


def _limit(job: Job) -> int:
    asked = job.request.optional_integer("maxResults", "MaxResults", LEAST_RESULTS, MOST_RESULTS)
    return MOST_RESULTS if asked is None else asked


def _start(job: Job, purpose: str) -> int:
    """Where to go on: a page's token counts for more than StartingBlockIndex."""
    start_index = job.request.optional_integer(
        "startingBlockIndex", "StartingBlockIndex", 0, MAX_INTEGER
    )
    token = job.request.token("pageToken", "NextToken", "INVALID_PAGE_TOKEN")
    if not token:
        return start_index or 0
    try:
        return int(job.sealer.open(purpose, token))
    except InvalidTokenError:
        raise invalid("The NextToken is not valid.", "INVALID_PAGE_TOKEN") from None


def _block_purpose(snapshot_id: str, index: int) -> str:
    return f"block {index} of {snapshot_id}"


def _block_token(job: Job, snapshot_id: str, index: int) -> str:
    return job.sealer.seal(_block_purpose(snapshot_id, index), lifetime_s=BLOCK_TOKEN_S)


def _page(
    job: Job,
    name: str,
    blocks: list[dict[str, Any]],
    snapshot: Snapshot,
    purpose: str,
    following: int | None,
) -> Reply:
    token = None
    if following is not None:
        token = job.sealer.seal(purpose, str(following), lifetime_s=PAGE_TOKEN_S)
    document = {
        name: blocks,
        "ExpiryTime": job.region.clock.now_ns() // _NS_PER_S + BLOCK_TOKEN_S,
        "VolumeSize": snapshot.volume_size_gib,
        "BlockSize": SNAPSHOT_BLOCK_BYTES,
        "NextToken": token,
    }
    return json_reply(200, document)
