"""ModifySnapshotAttribute, ResetSnapshotAttribute: who else may use a snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from blockdev.model import ServiceError, Snapshot
from blockdev.region import limits
from blockdev.region.database import Connection
from blockdev.region.snapshot_rows import SnapshotRows
from blockdev.region.volumes import DEFAULT_KEY

_ACCOUNT: Final = re.compile(r"[0-9]{12}")


class SharingVerbs(SnapshotRows):
    """Permissions to create volumes from snapshots, and to copy them."""

    def share_snapshot(
        self,
        snapshot_id: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        public: bool | None = None,
    ) -> Snapshot:
        """Add or remove accounts (twelve digits each), or make it public or private.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, InvalidParameterCombination (both added
                and removed), InvalidParameterValue (no account id, or too many),
                OperationNotPermitted (an encrypted snapshot made public, or one under the
                account's default key shared).
        """
        if add and remove:
            raise ServiceError(
                "InvalidParameterCombination", "Accounts cannot be added and removed in one call."
            )
        _check_accounts([*add, *remove])
        with self._write() as (connection, now_ns):
            snapshot = self._snapshot(connection, snapshot_id, now_ns)
            _check_may_share(snapshot, shares=bool(add), public=bool(public))
            connection.executemany(
                "INSERT OR IGNORE INTO snapshot_shares VALUES (?, ?)",
                [(snapshot_id, account) for account in add],
            )
            connection.executemany(
                "DELETE FROM snapshot_shares WHERE snapshot_id = ? AND account_id = ?",
                [(snapshot_id, account) for account in remove],
            )
            if public is not None:
                connection.execute(
                    "UPDATE snapshots SET is_public = ? WHERE snapshot_id = ?",
                    (public, snapshot_id),
                )
            _check_number(connection, snapshot_id)
            return self._snapshot(connection, snapshot_id, now_ns)

    def reset_snapshot_sharing(self, snapshot_id: str) -> Snapshot:
        """Private again: only its owner may use it.

        Raises:
            ServiceError: InvalidSnapshot.NotFound.
        """
        with self._write() as (connection, now_ns):
            self._snapshot(connection, snapshot_id, now_ns)
            connection.execute("DELETE FROM snapshot_shares WHERE snapshot_id = ?", (snapshot_id,))
            connection.execute(
                "UPDATE snapshots SET is_public = 0 WHERE snapshot_id = ?", (snapshot_id,)
            )
            return self._snapshot(connection, snapshot_id, now_ns)


def _check_accounts(accounts: Sequence[str]) -> None:
    for account in accounts:
        if _ACCOUNT.fullmatch(account) is None:
            raise ServiceError(
                "InvalidParameterValue", f"Value ({account}) for parameter userId is invalid."
            )
    if len(accounts) > limits.MAX_SHARE_CHANGES:
        raise ServiceError(
            "InvalidParameterValue",
            f"At most {limits.MAX_SHARE_CHANGES} accounts can be changed in one call.",
        )


def _check_may_share(snapshot: Snapshot, *, shares: bool, public: bool) -> None:
    if not snapshot.encrypted:
        return
    if public:
        raise ServiceError("OperationNotPermitted", "Encrypted snapshots cannot be made public")
    if shares and snapshot.kms_key_id == DEFAULT_KEY:
        raise ServiceError(
            "OperationNotPermitted",
            "Encrypted snapshots with EBS default key cannot be shared",
        )


def _check_number(connection: Connection, snapshot_id: str) -> None:
    (count,) = connection.execute(
        "SELECT count(*) FROM snapshot_shares WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    if count > limits.MAX_SHARES:
        raise ServiceError(
            "InvalidParameterValue",
            f"{snapshot_id} would be shared with {count} accounts; {limits.MAX_SHARES} may be.",
        )
