"""Disks inside the instance: sizes of the i3 and i4i families.

[E23] the EC2 user guide as of June 2023, "Instance store volumes" (counts and sizes) and
      "Storage optimized instances" (IOPS of 4 KiB I/O on all disks of the instance
      together, at queue depth saturation)
[S]   ScyllaDB's measurements of single disks, ``common/aws_io_params.yaml`` of
      scylladb/scylla-machine-image: bytes a second, of which AWS states nothing
[D]   derived here; nobody states it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd
from types import MappingProxyType
from typing import Final

from blockdev.credits import Limits, Rate
from blockdev.latency import Latency, LatencyModel
from blockdev.model import MIB

DISK_UNIT_BYTES: Final = 128 * 1024
"""At what size a disk splits I/O [D]: a usual largest transfer of NVMe."""

_SLACK_SHARE: Final = 100  # as in `profiles`: a hundredth of a second's tokens at once [D]

# [D], as of NVMe disks of the day.  AWS announced the disks of i4i with "up to 60 % lower
# storage I/O latency and up to 75 % reduced latency variability compared to I3": 0.4 of the
# median, and a quarter of the way from it to the 99th percentile.
_I3_LATENCY: Final = LatencyModel(Latency(100_000, 300_000), Latency(30_000, 150_000))
_I4I_LATENCY: Final = LatencyModel(Latency(40_000, 90_000), Latency(12_000, 42_000))


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """The disks that an instance type comes with.

    `read_iops`, `write_iops`: of all disks together, 4 KiB each.
    `disk_read_bytes_per_s`, `disk_write_bytes_per_s`: of one disk.
    """

    instance_type: str
    disks: int
    disk_bytes: int
    read_iops: int
    write_iops: int
    disk_read_bytes_per_s: int
    disk_write_bytes_per_s: int
    latency: LatencyModel

    @property
    def read_mibps(self) -> float:
        """Of all disks together."""
        return self.disks * self.disk_read_bytes_per_s / MIB

    @property
    def write_mibps(self) -> float:
        """Of all disks together."""
        return self.disks * self.disk_write_bytes_per_s / MIB

    def disk_limits(self) -> Limits:
        """What one of its disks delivers."""
        return self._limits(1)

    def limits(self) -> Limits:
        """What all disks deliver together, striped as RAID 0."""
        return self._limits(self.disks)

    def _limits(self, disks: int) -> Limits:
        """Reads and writes share a disk's time, each taking its part of a second [D]."""
        return Limits(
            DISK_UNIT_BYTES,
            shared_rate(
                self.read_iops * disks // self.disks, self.write_iops * disks // self.disks
            ),
            shared_rate(
                self.disk_read_bytes_per_s * disks,
                self.disk_write_bytes_per_s * disks,
                DISK_UNIT_BYTES,
            ),
            merges=False,
            latency=self.latency,
        )


def shared_rate(reads_per_s: int, writes_per_s: int, least_depth: int = 1) -> Rate:
    """One rate for reads and writes of which either alone reaches its own figure.

    Tokens are fractions of a second of the disk's time, in units that both divide into.
    """
    common = gcd(reads_per_s, writes_per_s)
    read_cost, write_cost = writes_per_s // common, reads_per_s // common
    per_s = reads_per_s * read_cost
    depth = max(per_s // _SLACK_SHARE, least_depth * max(read_cost, write_cost))
    return Rate(per_s, depth, read_cost, write_cost)


def _i3() -> Iterable[InstanceStore]:
    for size, disks, gigabytes, read_iops, write_iops, read_rate, write_rate in (
        ("large", 1, 475, 100_125, 35_000, 653_925_080, 215_066_473),
        ("xlarge", 1, 950, 206_250, 70_000, 1_185_106_376, 423_621_267),
        ("2xlarge", 1, 1_900, 412_500, 180_000, 2_015_342_735, 808_775_652),
        ("4xlarge", 2, 1_900, 825_000, 360_000, 2_015_342_735, 808_775_652),
        ("8xlarge", 4, 1_900, 1_650_000, 720_000, 2_015_342_735, 808_775_652),
        ("16xlarge", 8, 1_900, 3_300_000, 1_400_000, 2_015_342_735, 808_775_652),
        ("metal", 8, 1_900, 3_300_000, 1_400_000, 2_015_342_735, 808_775_652),
    ):
        figures = disks, gigabytes * 10**9, read_iops, write_iops, read_rate, write_rate
        yield InstanceStore(f"i3.{size}", *figures, _I3_LATENCY)


def _i4i() -> Iterable[InstanceStore]:
    # Every size has a multiple of the IOPS of i4i.large, so 12xlarge and 24xlarge, which came
    # after [E23], are taken to have theirs [D].
    for size, disks, gigabytes, larges, read_rate, write_rate in (
        ("large", 1, 468, 1, 378_494_048, 279_713_216),
        ("xlarge", 1, 937, 2, 763_580_096, 561_926_784),
        ("2xlarge", 1, 1_875, 4, 1_542_559_872, 1_130_867_072),
        ("4xlarge", 1, 3_750, 8, 3_087_631_104, 2_289_281_280),
        ("8xlarge", 2, 3_750, 16, 3_087_631_104, 2_289_281_280),
        ("12xlarge", 3, 3_750, 24, 3_087_631_104, 2_289_281_280),
        ("16xlarge", 4, 3_750, 32, 3_087_631_104, 2_289_281_280),
        ("24xlarge", 6, 3_750, 48, 3_087_631_104, 2_289_281_280),
        ("32xlarge", 8, 3_750, 64, 3_087_631_104, 2_289_281_280),
        ("metal", 8, 3_750, 64, 3_087_631_104, 2_289_281_280),
    ):
        figures = disks, gigabytes * 10**9, larges * 50_000, larges * 27_500, read_rate, write_rate
        yield InstanceStore(f"i4i.{size}", *figures, _I4I_LATENCY)


INSTANCE_STORES: Final[Mapping[str, InstanceStore]] = MappingProxyType(
    {store.instance_type: store for family in (_i3(), _i4i()) for store in family}
)
"""By instance type, such as ``i4i.large``."""
