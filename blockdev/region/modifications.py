"""ModifyVolume, DescribeVolumesModifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blockdev import profiles
from blockdev import volume as rules
from blockdev.model import Modification, ServiceError, Volume, VolumeSpec
from blockdev.region import rows
from blockdev.region.base import missing, volume_not_found
from blockdev.region.database import Connection
from blockdev.region.opens import OpenVerbs

_CHANGED_IOPS: Final = 3_000
"""ModifyVolume, Iops [B]: "If you change the volume type to io1, io2, or gp3, the default"."""


class ModificationVerbs(OpenVerbs):
    """Changes of size, type and performance."""

    def modify_volume(
        self,
        volume_id: str,
        *,
        volume_type: str | None = None,
        size_gib: int | None = None,
        iops: int | None = None,
        throughput_mibps: int | None = None,
        multi_attach: bool | None = None,
    ) -> Modification:
        """Change a volume, also while it is in use; the answer is in state ``modifying``.

        What is None stays as it is, or becomes the default of a new type.  The new size
        holds as soon as the modification is ``optimizing``; the performance is between old
        and new until it is ``completed``.

        Raises:
            ServiceError: InvalidVolume.NotFound, MissingParameter (nothing to change),
                IncorrectState, IncorrectModificationState, VolumeModificationRateExceeded,
                InvalidParameterValue, InvalidParameterCombination, UnknownVolumeType.
        """
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            target = _target(volume, volume_type, size_gib, iops, throughput_mibps, multi_attach)
            wants_multi = volume.multi_attach if multi_attach is None else multi_attach
            history = rows.load_modifications(connection, now_ns, [volume_id])
            rules.check_modify(volume, target, history, now_ns)
            rules.check_multi_attach_change(volume, target, multi_attach=wants_multi)
            if target == volume.spec and wants_multi == volume.multi_attach:
                raise ServiceError(
                    "InvalidParameterValue",
                    f"The modification would leave volume '{volume_id}' as it is.",
                )
            modification_id = self._insert(connection, now_ns, volume, target, wants_multi)
        self._refresh(volume_id)
        with self._read() as (connection, _):
            row = connection.execute(
                "SELECT * FROM modifications WHERE modification_id = ?", (modification_id,)
            ).fetchone()
        # At the moment of the request: before anything has passed.
        return rows.with_state(rows.modification_of(row, now_ns - 1), "modifying")

    def describe_modifications(self, volume_ids: Sequence[str] = ()) -> list[Modification]:
        """The latest modification of each volume named, or of all that had one.

        Raises:
            ServiceError: InvalidVolume.NotFound.
        """
        with self._read() as (connection, now_ns):
            volumes = rows.load_volumes(connection, now_ns, volume_ids or None)
            present = [volume.volume_id for volume in volumes]
            found = rows.load_modifications(connection, now_ns, present)
        for absent in missing(volume_ids, present):
            raise volume_not_found(absent)
        return list({one.volume_id: one for one in found}.values())

    def _insert(
        self,
        connection: Connection,
        now_ns: int,
        volume: Volume,
        target: VolumeSpec,
        multi_attach: bool,
    ) -> int:
        """Write a modification down and make the row of the volume what it will be."""
        optimizing_ns = now_ns + self._timings.modifying_ns
        completed_ns = optimizing_ns + self._timings.optimizing_ns(target)
        cursor = connection.execute(
            "INSERT INTO modifications (volume_id, started_ns, optimizing_ns, completed_ns,"
            " original_type, original_size_gib, original_iops, original_throughput_mibps,"
            " original_multi_attach, target_type, target_size_gib, target_iops,"
            " target_throughput_mibps, target_multi_attach)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(volume.volume_id, now_ns, optimizing_ns, completed_ns),
                *(*_columns(volume.spec), volume.multi_attach),
                *(*_columns(target), multi_attach),
            ),
        )
        connection.execute(
            "UPDATE volumes SET volume_type = ?, size_gib = ?, iops = ?, throughput_mibps = ?,"
            " multi_attach = ? WHERE volume_id = ?",
            (*_columns(target), multi_attach, volume.volume_id),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def _columns(spec: VolumeSpec) -> tuple[str, int, int | None, int | None]:
    return spec.volume_type, spec.size_gib, spec.iops, spec.throughput_mibps


def _target(
    volume: Volume,
    volume_type: str | None,
    size_gib: int | None,
    iops: int | None,
    throughput_mibps: int | None,
    multi_attach: bool | None,
) -> VolumeSpec:
    """What the volume is to be; ModifyVolume [B] says what each parameter left out means."""
    if (volume_type, size_gib, iops, throughput_mibps, multi_attach) == (None,) * 5:
        raise ServiceError(
            "MissingParameter",
            "The request must contain the parameter size, volumeType, iops, throughput or "
            "multiAttachEnabled",
        )
    old = volume.spec
    kind = volume_type or old.volume_type
    same = kind == old.volume_type
    if iops is None:
        iops = old.iops if same else _default_iops(kind)
    if throughput_mibps is None and same:
        throughput_mibps = old.throughput_mibps
    return profiles.resolve(
        VolumeSpec(kind, old.size_gib if size_gib is None else size_gib, iops, throughput_mibps)
    )


def _default_iops(volume_type: str) -> int | None:
    """What a volume that becomes one of this type is provisioned with."""
    return _CHANGED_IOPS if profiles.volume_type(volume_type).iops is not None else None
