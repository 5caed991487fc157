"""The part of `ObjectStore` that is about versions, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping

from objstore.engine import list_versions, update
from objstore.engine.calls import Calls
from objstore.model import ObjectInfo, VersionPage


class VersionCalls(Calls):
    """Versions, tags and locks."""

    def list_versions(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_id_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """Versions and delete markers by the order of their keys, newest first.

        Args:
            key_marker: list what comes after this key, or after this common prefix.
            version_id_marker: list what comes after this version of `key_marker`.

        Raises:
            InvalidArgumentError: the marker is no version id.
        """
        return list_versions.list_versions(
            self._open_core(), bucket, prefix, delimiter, key_marker, version_id_marker, limit
        )

    def set_tags(
        self, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        """Replace the tags of an object, or of one version of it.

        Raises:
            NoSuchKeyError, NoSuchVersionError, IsDeleteMarkerError: there is nothing to tag.
        """
        return update.set_tags(self._open_core(), bucket, key, version_id, dict(tags))

    def set_legal_hold(
        self, bucket: str, key: str, is_held: bool, *, version_id: str = ""
    ) -> ObjectInfo:
        """Put a legal hold on a version, or take it off.

        Raises:
            NoObjectLockError: the bucket has no object lock.
        """
        return update.set_legal_hold(self._open_core(), bucket, key, version_id, is_held)

    def set_retention(
        self,
        bucket: str,
        key: str,
        mode: str,
        retain_until_ms: int,
        *,
        version_id: str = "",
        bypass_governance: bool = False,
    ) -> ObjectInfo:
        """Keep a version until a time; an empty mode and 0 lift the retention.

        Raises:
            NoObjectLockError: the bucket has no object lock.
            ObjectLockedError: the present retention does not allow it.
        """
        return update.set_retention(
            self._open_core(), bucket, key, version_id, mode, retain_until_ms, bypass_governance
        )
