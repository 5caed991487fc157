"""Deleting objects."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_DELETES
from objstore.index import keys, schema
from objstore.index.schema import FLAG_NULL, GoneBody
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import DeleteResult

_GONE = schema.encode(GoneBody())


class DeleteObjects:
    """Remove the current versions of some keys; a key that is not there is no error."""

    leaves_segments = FOR_DELETES

    def __init__(self, core: Core, bucket: str, names: Sequence[str]) -> None:
        self._core, self._bucket = core, bucket
        self._keys = [encode_key(name) for name in names]
        self.size_bound_bytes = sum(
            log.RECORD_HEAD_BYTES + len(_GONE) + len(key) for key in self._keys
        )

    def decide(self, decision: Decision) -> Sequence[Record]:
        bucket_id = decided_bucket(self._core, decision, self._bucket).bucket_id
        records = []
        # A key named twice is deleted once: the second finds nothing, as in S3.
        for key in dict.fromkeys(self._keys):
            row = decision.txn.get(keys.current(bucket_id, key))
            if row is not None:
                seq = schema.unpack_head(row).version_seq
                gone = Record(log.VERSION_GONE, bucket_id, key, _GONE, seq, FLAG_NULL)
                records.append(gone)
        return records


def delete_many(core: Core, bucket: str, names: Sequence[str]) -> list[DeleteResult]:
    """One commit for all; a result for each name, in order."""
    if not names:
        with core.index.read() as txn:
            core.bucket(txn, bucket)
        return []
    records = core.commit(DeleteObjects(core, bucket, names))
    gone = {record.key for record in records}
    results = []
    for name in names:
        key = name.encode()
        results.append(DeleteResult(name, key in gone))
        gone.discard(key)
    return results
