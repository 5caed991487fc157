"""Versions of the twin: listing them, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping

from objstore.errors import InvalidArgumentError, NoObjectLockError, NoSuchVersionError
from objstore.model import NO_LOCK, ObjectInfo, ObjectLock, VersionEntry, VersionPage
from tests.twin import rules
from tests.twin.state import Bucket, State, Version

_Line = VersionEntry | str
"""Of a listing: a version, or a common prefix."""


class VersionCalls(State):
    """As the engine's calls of that name."""

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
        found = self._bucket(bucket)
        if limit <= 0:
            return VersionPage(())
        lines = _rest_of_marker(found, prefix, delimiter, key_marker, version_id_marker)
        lines += _all_lines(found, prefix, delimiter, key_marker)
        page = lines[:limit]
        entries = tuple(line for line in page if isinstance(line, VersionEntry))
        prefixes = tuple(line for line in page if isinstance(line, str))
        if len(lines) <= limit:
            return VersionPage(entries, prefixes)
        last = page[-1]
        if isinstance(last, str):
            return VersionPage(entries, prefixes, last, "")
        return VersionPage(entries, prefixes, last.key, last.version_id)

    def set_tags(
        self, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        return self._change(self._version(bucket, key, version_id), tags=dict(tags))

    def set_legal_hold(
        self, bucket: str, key: str, is_held: bool, *, version_id: str = ""
    ) -> ObjectInfo:
        version = self._version_to_lock(bucket, key, version_id)
        lock = version.info.attributes.lock
        held = ObjectLock(lock.mode, lock.retain_until_ms, is_held)
        return self._change(version, lock=held)

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
        if bool(mode) != bool(retain_until_ms):
            raise InvalidArgumentError("a retention has a mode and a date", "Mode", mode)
        version = self._version_to_lock(bucket, key, version_id)
        old = version.info.attributes.lock
        now_ms = self._now_ms()
        rules.check_retention_change(old, mode, retain_until_ms, now_ms, bypass=bypass_governance)
        new = ObjectLock(mode, retain_until_ms, old.legal_hold)
        return self._change(version, lock=new if new else NO_LOCK)

    def _version_to_lock(self, bucket: str, key: str, version_id: str) -> Version:
        version = self._version(bucket, key, version_id)
        if self._bucket(bucket).retention is None:
            raise NoObjectLockError
        return version


def _entries(bucket: Bucket, key: str) -> list[VersionEntry]:
    return [
        rules.version_entry(version.info, is_latest=place == 0, is_marker=version.is_marker)
        for place, version in enumerate(bucket.keys[key])
    ]


def _all_lines(bucket: Bucket, prefix: str, delimiter: str, key_marker: str) -> list[_Line]:
    """What is listed after a marker that is a key or a common prefix."""
    lines: list[_Line] = []
    for key in sorted(bucket.keys, key=rules.utf8):
        if not key.startswith(prefix):
            continue
        if not rules.is_past_marker(key, prefix, delimiter, key_marker):
            continue
        if not rules.is_rolled(key, prefix, delimiter):
            lines += _entries(bucket, key)
        elif (rolled := rules.roll_up(key, prefix, delimiter)) not in lines[-1:]:
            lines.append(rolled)
    return lines


def _rest_of_marker(
    bucket: Bucket, prefix: str, delimiter: str, key: str, version_id: str
) -> list[_Line]:
    """The versions of the marker's key that are older than the one it names, or named."""
    if not key or not version_id:
        return []
    born = _born(bucket, key, version_id)
    if not key.startswith(prefix) or rules.is_rolled(key, prefix, delimiter):
        return []
    versions = bucket.keys.get(key, [])
    newer = sum(1 for version in versions if born is not None and version.born >= born)
    return [*_entries(bucket, key)[newer:]] if versions else []


def _born(bucket: Bucket, key: str, version_id: str) -> int | None:
    """When a version came to be that may be gone by now; None where its id does not tell."""
    try:
        version = bucket.find(key, version_id)
    except NoSuchVersionError:
        return None
    return bucket.births.get(version_id) if version is None else version.born
