"""CreateVolume, DescribeVolumes, DeleteVolume, DescribeVolumeStatus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from blockdev import profiles
from blockdev import volume as rules
from blockdev.model import ServiceError, Snapshot, Volume, VolumeSpec
from blockdev.region import limits, rows
from blockdev.region.base import missing, volume_not_found
from blockdev.region.database import Connection
from blockdev.region.fast_restores import take_credit
from blockdev.region.snapshot_rows import SnapshotRows

_INITIALIZATION_MIBPS: Final = (100, 300)
"""CreateVolume, VolumeInitializationRate [B]: 100 to 300 MiB/s."""

DEFAULT_TYPE: Final = "gp2"
"""CreateVolume, VolumeType [B]."""

DEFAULT_KEY: Final = "alias/aws/ebs"
"""The key of the account that encrypts what names no other."""


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """What DescribeVolumeStatus says of a volume.

    `status`: ok, or impaired where its files could not be made; then there is no I/O.
    """

    volume_id: str
    zone: str
    status: str
    io_enabled: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """A volume that is to be made; as the parameters of CreateVolume."""

    zone: str
    volume_type: str = DEFAULT_TYPE
    size_gib: int | None = None
    iops: int | None = None
    throughput_mibps: int | None = None
    snapshot_id: str = ""
    encrypted: bool = False
    kms_key_id: str = ""
    multi_attach: bool = False
    initialization_mibps: int | None = None


class VolumeVerbs(SnapshotRows):
    """Volumes from their creation to their deletion."""

    def create_volume(
        self,
        *,
        zone: str,
        volume_type: str = DEFAULT_TYPE,
        size_gib: int | None = None,
        iops: int | None = None,
        throughput_mibps: int | None = None,
        snapshot_id: str = "",
        encrypted: bool = False,
        kms_key_id: str = "",
        multi_attach: bool = False,
        initialization_mibps: int | None = None,
        tags: Mapping[str, str] = {},
        client_token: str = "",
    ) -> Volume:
        """Make a volume; sizes are GiB, throughput MiB/s.

        It is described as ``creating``, as EC2 answers; the next look tells how far it is.

        Raises:
            ServiceError: InvalidZone.NotFound, MissingParameter, UnknownVolumeType,
                InvalidParameterValue, InvalidParameterCombination,
                InvalidParameterDependency, InvalidSnapshot.NotFound, IncorrectState (of the
                snapshot), VolumeLimitExceeded, IdempotentParameterMismatch.
        """
        request = VolumeRequest(
            zone,
            volume_type,
            size_gib,
            iops,
            throughput_mibps,
            snapshot_id,
            encrypted,
            kms_key_id,
            multi_attach,
            initialization_mibps,
        )
        arguments = {**asdict(request), "tags": dict(tags)}
        with self._write() as (connection, now_ns):
            (volume_id,), is_new = self._once(
                connection,
                "CreateVolume",
                client_token,
                arguments,
                lambda: [self._insert_volume(connection, now_ns, request, tags)],
            )
        return self._made_volume(volume_id, is_new=is_new)

    def describe_volumes(self, volume_ids: Sequence[str] = ()) -> list[Volume]:
        """Those named, or all, in the order of their creation.

        Raises:
            ServiceError: InvalidVolume.NotFound.
        """
        self._forget_the_dead()
        with self._read() as (connection, now_ns):
            found = rows.load_volumes(connection, now_ns, volume_ids or None)
        for absent in missing(volume_ids, [volume.volume_id for volume in found]):
            raise volume_not_found(absent)
        return found

    def describe_volume(self, volume_id: str) -> Volume:
        """One volume; raises InvalidVolume.NotFound."""
        return self.describe_volumes([volume_id])[0]

    def delete_volume(self, volume_id: str) -> None:
        """Delete a volume that is attached to nothing; its data is gone at once.

        It is described as ``deleting`` until its files are removed, then not at all.

        Raises:
            ServiceError: InvalidVolume.NotFound, VolumeInUse (attached, or open somewhere),
                IncorrectState.
        """
        self._forget_the_dead()
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            rules.check_delete(volume)
            self._check_not_open(connection, volume_id)
            self._mark_deleted(connection, volume_id, now_ns)
        self._run_jobs()

    def volume_status(self, volume_ids: Sequence[str] = ()) -> list[VolumeStatus]:
        """The status checks of the volumes named, or of all.

        Raises:
            ServiceError: InvalidVolume.NotFound.
        """
        return [
            VolumeStatus(
                volume_id=volume.volume_id,
                zone=volume.zone,
                status="impaired" if volume.state == "error" else "ok",
                io_enabled=volume.state != "error",
                detail="its files could not be made" if volume.state == "error" else "",
            )
            for volume in self.describe_volumes(volume_ids)
            if volume.state in ("available", "in-use", "error")
        ]

    # What run_instances needs too.

    def _insert_volume(
        self,
        connection: Connection,
        now_ns: int,
        request: VolumeRequest,
        tags: Mapping[str, str],
    ) -> str:
        """The row of a new volume, and the job that makes its files; returns its id."""
        self._check_zone(request.zone)
        snapshot = self._source_snapshot(connection, now_ns, request)
        spec = profiles.resolve(_asked_spec(request, snapshot))
        _check_request(request, spec)
        encrypted, key = _encryption(request, snapshot)
        _check_room(connection)
        volume_id = self._new_id(connection, "vol")
        fast = snapshot is not None and take_credit(
            connection, now_ns, snapshot.snapshot_id, snapshot.volume_size_gib, request.zone
        )
        connection.execute(
            "INSERT INTO volumes (volume_id, zone, created_ns, available_ns, volume_type,"
            " size_gib, iops, throughput_mibps, snapshot_id, encrypted, kms_key_id,"
            " multi_attach, fast_restored, initialization_mibps, lineage)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(volume_id, request.zone, now_ns, now_ns + self._timings.creating_ns),
                *(spec.volume_type, spec.size_gib, spec.iops, spec.throughput_mibps),
                *(request.snapshot_id, encrypted, key, request.multi_attach, fast),
                *(request.initialization_mibps, _lineage(connection, volume_id, snapshot)),
            ),
        )
        self._tag(connection, volume_id, tags)
        self._add_job(connection, "make-volume", volume_id)
        return volume_id

    def _mark_deleted(self, connection: Connection, volume_id: str, now_ns: int) -> None:
        """From now on `deleting`; its files go by a job."""
        connection.execute(
            "UPDATE volumes SET deleted_ns = ? WHERE volume_id = ?",
            (now_ns + self._timings.deleting_ns, volume_id),
        )
        self._add_job(connection, "remove-volume", volume_id)

    def _made_volume(self, volume_id: str, *, is_new: bool) -> Volume:
        """Make the files of a volume just inserted, and describe it as EC2's answer does."""
        if is_new:
            self._run_jobs()
        with self._read() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
        if not is_new or volume.state != "available":
            return volume
        return rows.with_state(volume, "creating")

    def _source_snapshot(
        self, connection: Connection, now_ns: int, request: VolumeRequest
    ) -> Snapshot | None:
        """The snapshot that a volume is to be made from, fit for it."""
        if not request.snapshot_id:
            return None
        snapshot = self._snapshot(connection, request.snapshot_id, now_ns)
        self._check_usable(snapshot)
        if request.size_gib is not None and request.size_gib < snapshot.volume_size_gib:
            raise ServiceError(
                "InvalidParameterValue",
                f"Volume of size {request.size_gib}GB is smaller than snapshot "
                f"'{snapshot.snapshot_id}', expect size >= {snapshot.volume_size_gib}GB",
            )
        return snapshot


def _asked_spec(request: VolumeRequest, snapshot: Snapshot | None) -> VolumeSpec:
    size_gib = request.size_gib
    if size_gib is None and snapshot is not None:
        size_gib = snapshot.volume_size_gib
    if size_gib is None:
        raise ServiceError(
            "MissingParameter", "The request must contain the parameter size or snapshotId"
        )
    return VolumeSpec(request.volume_type, size_gib, request.iops, request.throughput_mibps)


def _check_request(request: VolumeRequest, spec: VolumeSpec) -> None:
    """What does not depend on the type's figures, which `profiles.resolve` looks at."""
    if request.multi_attach:
        rules.check_multi_attach(spec.volume_type)
    if request.initialization_mibps is None:
        return
    if not request.snapshot_id:
        raise ServiceError(
            "InvalidParameterDependency",
            "The parameter VolumeInitializationRate requires the parameter snapshotId to be set.",
        )
    low, high = _INITIALIZATION_MIBPS
    if not low <= request.initialization_mibps <= high:
        raise ServiceError(
            "InvalidParameterValue",
            f"VolumeInitializationRate must be between {low} and {high} MiB/s.",
        )


def _encryption(request: VolumeRequest, snapshot: Snapshot | None) -> tuple[bool, str]:
    """Whether the volume is encrypted, and by which key.

    Of an encrypted snapshot it always is.  No bytes are enciphered: see docs/ebs.md.
    """
    inherited = snapshot is not None and snapshot.encrypted
    if request.kms_key_id and not request.encrypted:
        raise ServiceError(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        )
    if not request.encrypted and not inherited:
        return False, ""
    if request.kms_key_id:
        return True, request.kms_key_id
    return True, (snapshot.kms_key_id if snapshot is not None and inherited else DEFAULT_KEY)


def _lineage(connection: Connection, volume_id: str, snapshot: Snapshot | None) -> str:
    """That of the snapshot, or a new one."""
    if snapshot is None:
        return volume_id
    (found,) = connection.execute(
        "SELECT lineage FROM snapshots WHERE snapshot_id = ?", (snapshot.snapshot_id,)
    ).fetchone()
    lineage: str = found
    return lineage


def _check_room(connection: Connection) -> None:
    (count,) = connection.execute("SELECT count(*) FROM volumes").fetchone()
    if count >= limits.MAX_VOLUMES:
        raise ServiceError(
            "VolumeLimitExceeded", f"There are {count} volumes, the most that a region holds."
        )
