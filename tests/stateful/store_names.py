"""Which id of the store is which of its twin, so that answers can be compared exactly."""

from __future__ import annotations

from typing import Any

import msgspec

from objstore.model import (
    DeleteResult,
    ObjectAttributes,
    ObjectInfo,
    ObjectPartPage,
    PartPage,
    UploadInfo,
    UploadPage,
    VersionEntry,
    VersionPage,
)


class Names:
    """Ids are drawn by store and twin each for itself: pairs of what both answered.

    Ids are learnt where they are made and looked up everywhere else, so that one that
    changes or comes up anew is a difference like any other.
    """

    def __init__(self) -> None:
        self._twin_of: dict[str, str] = {}
        self._here_of: dict[str, str] = {}

    def learn(self, here: str | None, twin: str | None) -> None:
        """Note that the store calls `here` what the twin calls `twin`."""
        if here is None or twin is None or "null" in (here, twin):
            return
        assert self._twin_of.setdefault(here, twin) == twin, f"{here} was given twice"
        assert self._here_of.setdefault(twin, here) == here, f"{here} has another id"

    def learn_result(self, here: Any, twin: Any) -> None:
        """Learn the ids that one write has made."""
        if isinstance(here, list) and isinstance(twin, list):
            for one, other in zip(here, twin, strict=True):
                self.learn_result(one, other)
        elif isinstance(here, ObjectInfo | DeleteResult) and type(here) is type(twin):
            self.learn(here.version_id, twin.version_id)
        elif isinstance(here, UploadInfo) and isinstance(twin, UploadInfo):
            self.learn(here.upload_id, twin.upload_id)

    def here(self, twin: str) -> str:
        """The store's id for the twin's; ids that neither has made are the same for both."""
        return self._here_of.get(twin, twin)

    def plain(self, value: Any) -> Any:
        """A value of the store as the twin would say it."""
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, ObjectInfo):
            return self._with(
                value,
                version_id=self._twin(value.version_id),
                version_seq=0,
                attributes=self._attributes(value.attributes),
            )
        if isinstance(value, DeleteResult):
            error: Any = None if value.error is None else type(value.error)
            return self._with(value, version_id=self._twin(value.version_id), error=error)
        if isinstance(value, VersionEntry):
            return self._with(value, version_id=self._twin(value.version_id))
        if isinstance(value, UploadInfo):
            return self._with(
                value,
                upload_id=self._twin(value.upload_id),
                attributes=self._attributes(value.attributes),
            )
        return self._plain_page(value)

    def _plain_page(self, value: Any) -> Any:
        if isinstance(value, VersionPage):
            entries = tuple(self.plain(entry) for entry in value.entries)
            marker = self._twin(value.next_version_id)
            return self._with(value, entries=entries, next_version_id=marker)
        if isinstance(value, ObjectPartPage):
            return self._with(value, info=self.plain(value.info))
        if isinstance(value, PartPage):
            return self._with(value, upload=self.plain(value.upload))
        if isinstance(value, UploadPage):
            return self._with(value, uploads=tuple(self.plain(each) for each in value.uploads))
        return value

    def _attributes(self, value: ObjectAttributes) -> ObjectAttributes:
        """Without the name of a key of the key service, which the twin does not have."""
        if not value.encryption.algorithm.startswith("aws:kms"):
            return value
        nameless = self._with(value.encryption, key_id="")
        named: ObjectAttributes = self._with(value, encryption=nameless)
        return named

    def _twin(self, here: str | None) -> str | None:
        return None if here is None else self._twin_of.get(here, here)

    @staticmethod
    def _with(value: Any, **changes: Any) -> Any:
        return msgspec.structs.replace(value, **changes)
