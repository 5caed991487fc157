"""The EBS volume types as data: what EC2 lets one ask of each, and its price.

Sources of the figures, here and in `profiles`:

[B]   AWS's API text in the ``ec2`` service model of botocore 1.44 (CreateVolume, ModifyVolume)
[E23] the EC2 user guide as of June 2023: EBS volume types, I/O characteristics
[P]   EBS prices in us-east-1, July 2024, per GB-month, IOPS-month and MiB/s-month
[D]   derived here; nobody states it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from blockdev.latency import Latency, LatencyModel
from blockdev.model import ServiceError

SSD_UNIT_BYTES: Final = 256 * 1024
"""I/O size that counts as one on SSD types [E23]."""

HDD_UNIT_BYTES: Final = 1024 * 1024
"""I/O size that counts as one on HDD types [E23]."""


@dataclass(frozen=True, slots=True)
class Span:
    """Both ends are allowed."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a month.

    `per_iops` and `per_mibps` are for what is provisioned over what is included;
    `per_iops` holds tiers: (from this many IOPS on, price).  `per_million_ios` is for use.
    """

    per_gib: float
    per_iops: tuple[tuple[int, float], ...] = ()
    per_mibps: float = 0.0
    included_mibps: int = 0
    per_million_ios: float = 0.0


@dataclass(frozen=True, slots=True)
class VolumeType:
    """What EC2 lets one ask of a type; what it then delivers is in `limits`.

    `iops`, `mibps`: spans that can be provisioned, None where the parameter is refused.
    `default_iops`: None where the parameter must be given.
    `iops_per_gib`, `mibps_per_iops`: largest ratios.
    `max_pending_snapshots`: of one volume at a time.
    """

    name: str
    title: str
    size_gib: Span
    price: Price
    latency: LatencyModel
    iops: Span | None = None
    default_iops: int | None = None
    iops_per_gib: int = 0
    mibps: Span | None = None
    mibps_per_iops: float = 0.0
    is_hdd: bool = False
    multi_attach: bool = False
    max_pending_snapshots: int = 5  # [E23]; 1 for st1 and sc1

    @property
    def unit_bytes(self) -> int:
        """How I/O is counted."""
        return HDD_UNIT_BYTES if self.is_hdd else SSD_UNIT_BYTES


def _latency(read_us: tuple[int, int], write_us: tuple[int, int]) -> LatencyModel:
    """Medians and 99th percentiles in microseconds."""
    read, write = (Latency(p50 * 1000, p99 * 1000) for p50, p99 in (read_us, write_us))
    return LatencyModel(read, write)


# AWS states bounds, not distributions: single-digit milliseconds for gp2, gp3 and io1, under
# a millisecond on average for io2 Block Express [E23].  The distributions are [D]: they lie
# within those bounds up to the 99th percentile.  Of hard disks it states nothing; these
# figures are of a seek and half a turn of a 7,200 rpm disk behind a network [D].
_GENERAL_PURPOSE: Final = _latency((900, 4_000), (1_100, 5_000))
_PROVISIONED: Final = _latency((600, 2_500), (700, 3_000))
_BLOCK_EXPRESS: Final = _latency((350, 700), (300, 600))
_HDD: Final = _latency((6_000, 30_000), (4_000, 20_000))
_COLD_HDD: Final = _latency((9_000, 45_000), (6_000, 30_000))

_TYPES: Final = (
    VolumeType(
        "gp2",
        "General Purpose SSD",
        Span(1, 16_384),  # [B]
        Price(0.10),  # [P]
        _GENERAL_PURPOSE,
    ),
    VolumeType(
        "gp3",
        "General Purpose SSD",
        Span(1, 65_536),  # [B]
        Price(0.08, ((3_000, 0.005),), 0.04, 125),  # [P]
        _GENERAL_PURPOSE,
        iops=Span(3_000, 80_000),  # [B]
        default_iops=3_000,  # [B]
        iops_per_gib=500,  # [E23]
        mibps=Span(125, 2_000),  # [B]
        mibps_per_iops=0.25,  # [E23]
    ),
    VolumeType(
        "io1",
        "Provisioned IOPS SSD",
        Span(4, 16_384),  # [B]
        Price(0.125, ((0, 0.065),)),  # [P]
        _PROVISIONED,
        iops=Span(100, 64_000),  # [B]
        iops_per_gib=50,  # [E23]
        multi_attach=True,  # [B]
    ),
    VolumeType(
        "io2",
        "Provisioned IOPS SSD (Block Express)",
        Span(4, 65_536),  # [B]
        # [P]; the second and third tier are those of the EBS price page.
        Price(0.125, ((0, 0.065), (32_000, 0.046), (64_000, 0.032))),
        _BLOCK_EXPRESS,
        iops=Span(100, 256_000),  # [B]
        iops_per_gib=1_000,  # [E23]
        multi_attach=True,  # [B]
    ),
    VolumeType(
        "st1",
        "Throughput Optimized HDD",
        Span(125, 16_384),  # [B]
        Price(0.045),  # [P]
        _HDD,
        is_hdd=True,
        max_pending_snapshots=1,
    ),
    VolumeType(
        "sc1",
        "Cold HDD",
        Span(125, 16_384),  # [B]
        Price(0.015),  # [P]
        _COLD_HDD,
        is_hdd=True,
        max_pending_snapshots=1,
    ),
    VolumeType(
        "standard",
        "Magnetic",
        Span(1, 1_024),  # [B]
        Price(0.05, per_million_ios=0.05),  # [P]
        _HDD,
        is_hdd=True,
    ),
)

VOLUME_TYPES: Final[Mapping[str, VolumeType]] = MappingProxyType({t.name: t for t in _TYPES})


def volume_type(name: str) -> VolumeType:
    """The type of that name.

    Raises:
        ServiceError: ``UnknownVolumeType``.
    """
    found = VOLUME_TYPES.get(name)
    if found is None:
        known = ", ".join(sorted(VOLUME_TYPES))
        raise ServiceError(
            "UnknownVolumeType",
            f"Unsupported volume type '{name}' for volume creation: use {known}.",
        )
    return found
