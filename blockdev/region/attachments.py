"""AttachVolume, DetachVolume."""

from __future__ import annotations

from blockdev import volume as rules
from blockdev.instance import MAX_ATTACHMENTS
from blockdev.model import Attachment
from blockdev.region import rows
from blockdev.region.database import Connection
from blockdev.region.opens import OpenVerbs


class AttachmentVerbs(OpenVerbs):
    """Volumes on instances."""

    def attach_volume(self, volume_id: str, instance_id: str, device: str) -> Attachment:
        """Attach a volume to an instance of its zone; the answer is in state ``attaching``.

        Raises:
            ServiceError: InvalidVolume.NotFound, InvalidInstanceID.NotFound, IncorrectState,
                VolumeInUse, InvalidVolume.ZoneMismatch, AttachmentLimitExceeded,
                InvalidParameterValue (the device's name, or it is in use).
        """
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            instance = self._instance(connection, instance_id, now_ns)
            rules.check_attach(volume, instance, device, MAX_ATTACHMENTS)
            self._insert_attachment(
                connection, now_ns, volume_id, instance_id, device, delete_on_termination=False
            )
        return Attachment(volume_id, instance_id, device, "attaching", now_ns)

    def detach_volume(
        self, volume_id: str, *, instance_id: str = "", device: str = "", force: bool = False
    ) -> Attachment:
        """Detach a volume; the answer is in state ``detaching``.

        While the instance has the device open the attachment is ``busy`` and ends when it
        closes it, as with a file system that is still mounted.  With `force` the device is
        taken away from it at once: its calls raise `DeviceClosedError` from then on.

        Raises:
            ServiceError: InvalidVolume.NotFound, IncorrectState (attached to nothing, or
                detaching already), InvalidAttachment.NotFound, InvalidParameterCombination
                (several attachments and no instance named), OperationNotPermitted (the root
                volume of a running instance), InvalidInstanceID.NotFound.
        """
        self._forget_the_dead()
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            if instance_id:
                self._instance(connection, instance_id, now_ns)
            attachment = rules.find_attachment(volume, instance_id, device)
            instance = self._instance(connection, attachment.instance_id, now_ns)
            rules.check_detach(attachment, instance, force=force)
            self._mark_detached(connection, now_ns, attachment, force=force)
        if force:
            self._refresh(volume_id)
        return rows.with_state(attachment, "detaching")

    def _insert_attachment(
        self,
        connection: Connection,
        now_ns: int,
        volume_id: str,
        instance_id: str,
        device: str,
        *,
        delete_on_termination: bool,
    ) -> None:
        connection.execute(
            "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, NULL, ?)",
            (
                *(volume_id, instance_id, device, now_ns),
                *(now_ns + self._timings.attaching_ns, delete_on_termination),
            ),
        )

    def _mark_detached(
        self, connection: Connection, now_ns: int, attachment: Attachment, *, force: bool
    ) -> None:
        """Detaching from now on, or over at once with `force`."""
        key = (attachment.volume_id, attachment.instance_id)
        ends_ns = now_ns if force else now_ns + self._timings.detaching_ns
        connection.execute(
            "UPDATE attachments SET detached_ns = ? WHERE volume_id = ? AND instance_id = ?",
            (ends_ns, *key),
        )
        if force:
            connection.execute("DELETE FROM opens WHERE volume_id = ? AND instance_id = ?", key)
            connection.execute(
                "DELETE FROM attachments WHERE volume_id = ? AND instance_id = ?", key
            )
