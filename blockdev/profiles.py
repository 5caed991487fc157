"""The rules that EC2 checks volumes by, and what a volume then delivers and costs.

The types themselves are in `volume_types`, with the list of sources that [B], [E23], [P] and
[D] stand for; disks inside instances are in `instance_store`.  Error messages are worded as
EC2 words them where its wording is known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from blockdev.credits import Limits, Rate
from blockdev.instance_store import INSTANCE_STORES, InstanceStore
from blockdev.latency import LatencyModel
from blockdev.model import MIB, ServiceError, VolumeSpec
from blockdev.volume_types import (
    HDD_UNIT_BYTES,
    SSD_UNIT_BYTES,
    VOLUME_TYPES,
    VolumeType,
    volume_type,
)

__all__ = [
    "INSTANCE_STORES",
    "VOLUME_TYPES",
    "InstanceStore",
    "VolumeType",
    "displayed_iops",
    "gp2_baseline_iops",
    "limits",
    "max_pending_snapshots",
    "monthly_price_usd",
    "resolve",
    "supports_multi_attach",
    "volume_type",
]

GP2_IO_CREDITS: Final = 5_400_000
"""The I/O credit bucket of gp2, full at creation [E23]."""

GP2_BURST_IOPS: Final = 3_000
"""What gp2 reaches while credits last [E23]."""

GP2_IOPS_PER_GIB: Final = 3
"""The gp2 baseline [E23]."""

SLACK_SHARE: Final = 100
"""A hundredth of a second's tokens may be used at once [D]: a queue that is sent in one go
is not spread over more time than a scheduler would."""


def supports_multi_attach(name: str) -> bool:
    """Whether volumes of the type can be attached to several instances; False if unknown."""
    found = VOLUME_TYPES.get(name)
    return found is not None and found.multi_attach


def max_pending_snapshots(name: str) -> int:
    """How many snapshots of one volume may be pending at a time [E23]."""
    return volume_type(name).max_pending_snapshots


def resolve(spec: VolumeSpec) -> VolumeSpec:
    """`spec` with what was left out filled in, checked as EC2 checks it.

    A spec that came out of it goes through it unchanged.  For gp2, st1, sc1 and standard
    `iops` stays None: it is no parameter of theirs; see `displayed_iops`.

    Raises:
        ServiceError: ``UnknownVolumeType``; ``InvalidParameterValue`` for a size, an IOPS or
            throughput figure or a ratio out of bounds; ``InvalidParameterCombination`` for a
            parameter that the type does not take, or one that it needs.
    """
    kind = volume_type(spec.volume_type)
    _check_size(kind, spec.size_gib)
    iops = _resolved_iops(kind, spec)
    return replace(spec, iops=iops, throughput_mibps=_resolved_mibps(kind, spec, iops))


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValue", message)


def _check_size(kind: VolumeType, size_gib: int) -> None:
    named = f"for volume type {kind.name}"
    if size_gib < kind.size_gib.least:
        least = kind.size_gib.least
        raise _invalid(f"Volume of {size_gib}GiB is too small {named}; minimum is {least}GiB.")
    if size_gib > kind.size_gib.most:
        most = kind.size_gib.most
        raise _invalid(f"Volume of {size_gib}GiB is too large {named}; maximum is {most}GiB.")


def _resolved_iops(kind: VolumeType, spec: VolumeSpec) -> int | None:
    if kind.iops is None:
        if spec.iops is not None:
            raise ServiceError(
                "InvalidParameterCombination",
                f"The parameter iops is not supported for {kind.name} volumes.",
            )
        return None
    iops = kind.default_iops if spec.iops is None else spec.iops
    if iops is None:
        raise ServiceError(
            "InvalidParameterCombination",
            f"The parameter iops must be specified for {kind.name} volumes.",
        )
    if iops < kind.iops.least:
        raise _invalid(f"Volume iops of {iops} is too low; minimum is {kind.iops.least}.")
    if iops > kind.iops.most:
        raise _invalid(f"Volume iops of {iops} is too high; maximum is {kind.iops.most}.")
    # What is included comes with the smallest volume too: gp3 of 1 GiB has 3,000 IOPS [E23].
    ratio = iops / spec.size_gib
    if ratio > kind.iops_per_gib and iops != kind.default_iops:
        raise _invalid(
            f"Iops to volume size ratio of {ratio:.6f} is too high; maximum is {kind.iops_per_gib}"
        )
    return iops


def _resolved_mibps(kind: VolumeType, spec: VolumeSpec, iops: int | None) -> int | None:
    mibps = spec.throughput_mibps
    if kind.mibps is None or iops is None:
        if mibps is not None:
            raise ServiceError(
                "InvalidParameterCombination",
                "throughput can only be specified for volumeType gp3.",
            )
        return None
    if mibps is None:
        return kind.mibps.least
    if mibps < kind.mibps.least:
        least = kind.mibps.least
        raise _invalid(f"Volume throughput of {mibps}MiBps is too low; minimum is {least}MiBps.")
    if mibps > kind.mibps.most:
        most = kind.mibps.most
        raise _invalid(f"Volume throughput of {mibps}MiBps is too high; maximum is {most}MiBps.")
    if mibps / iops > kind.mibps_per_iops:
        raise _invalid(
            f"Throughput (MiBps) to iops ratio of {mibps / iops:.6f} is too high; "
            f"maximum is {kind.mibps_per_iops:.6f} MiBps per iops"
        )
    return mibps


def gp2_baseline_iops(size_gib: int) -> int:
    """3 per GiB, at least 100 and at most 16,000 [E23]."""
    return max(100, min(16_000, GP2_IOPS_PER_GIB * size_gib))


def displayed_iops(spec: VolumeSpec) -> int | None:
    """What DescribeVolumes shows as Iops: what is provisioned, or the baseline of gp2 [B]."""
    if spec.volume_type == "gp2":
        return gp2_baseline_iops(spec.size_gib)
    return resolve(spec).iops


def _rate(per_s: int, least_depth: int) -> Rate:
    return Rate(per_s, max(least_depth, per_s // SLACK_SHARE))


def _ssd(iops: int, bytes_per_s: int, credits: Rate | None, latency: LatencyModel) -> Limits:
    throughput = _rate(bytes_per_s, SSD_UNIT_BYTES)
    return Limits(SSD_UNIT_BYTES, _rate(iops, 1), throughput, credits, latency=latency)


def _gp2(spec: VolumeSpec, latency: LatencyModel) -> Limits:
    # Over 170 GiB up to 250 MiB/s [E23].  Without credits that falls to 256 KiB times the
    # baseline by itself, since no unit is larger.
    mibps = 128 if spec.size_gib <= 170 else 250
    baseline = gp2_baseline_iops(spec.size_gib)
    if baseline >= GP2_BURST_IOPS:
        return _ssd(baseline, mibps * MIB, None, latency)
    return _ssd(GP2_BURST_IOPS, mibps * MIB, Rate(baseline, GP2_IO_CREDITS), latency)


def _io1_bytes_per_s(iops: int) -> int:
    """256 KiB for each IOPS up to 500 MiB/s; over 32,000 IOPS 16 KiB up to 1,000 MiB/s [E23]."""
    if iops <= 32_000:
        return min(iops * 256 * 1024, 500 * MIB)
    return min(iops * 16 * 1024, 1_000 * MIB)


def _io2_bytes_per_s(iops: int) -> int:
    """0.256 MiB/s for each IOPS up to 4,000 MiB/s [E23]."""
    return min(iops * 256 * MIB // 1_000, 4_000 * MIB)


def _hdd(spec: VolumeSpec, latency: LatencyModel, baseline: int, burst: int, cap: int) -> Limits:
    """Throughput in MiB/s for each TiB, the cap in MiB/s and, of whole units, in IOPS [E23].

    The bucket holds a TiB for each TiB; that it is full at first is [D].
    """
    cap_bytes = cap * MIB
    baseline_bytes = min(baseline * MIB * spec.size_gib // 1024, cap_bytes)
    burst_bytes = min(burst * MIB * spec.size_gib // 1024, cap_bytes)
    credits = Rate(baseline_bytes, spec.size_gib * 1024 * MIB)
    return Limits(
        HDD_UNIT_BYTES,
        _rate(cap, 1),
        _rate(burst_bytes, HDD_UNIT_BYTES),
        credits if baseline_bytes < burst_bytes else None,
        counts_whole_units=True,
        latency=latency,
    )


def _standard(latency: LatencyModel) -> Limits:
    """About 100 IOPS on average and up to 90 MiB/s [E23]; the bursts "to hundreds" are no
    promise and not simulated [D]."""
    throughput = _rate(90 * MIB, HDD_UNIT_BYTES)
    return Limits(HDD_UNIT_BYTES, _rate(100, 1), throughput, latency=latency)


def limits(spec: VolumeSpec) -> Limits:
    """What a volume delivers.

    Raises:
        ServiceError: as `resolve`.
    """
    spec = resolve(spec)
    latency = volume_type(spec.volume_type).latency
    match spec.volume_type:
        case "gp2":
            return _gp2(spec, latency)
        case "gp3":
            return _ssd(spec.iops or 0, (spec.throughput_mibps or 0) * MIB, None, latency)
        case "io1":
            return _ssd(spec.iops or 0, _io1_bytes_per_s(spec.iops or 0), None, latency)
        case "io2":
            return _ssd(spec.iops or 0, _io2_bytes_per_s(spec.iops or 0), None, latency)
        case "st1":
            return _hdd(spec, latency, baseline=40, burst=250, cap=500)
        case "sc1":
            return _hdd(spec, latency, baseline=12, burst=80, cap=250)
        case _:
            return _standard(latency)


def monthly_price_usd(spec: VolumeSpec, ios_per_month: float = 0.0) -> float:
    """US dollars a month in us-east-1 [P]; use is paid for by the I/O on standard only.

    Raises:
        ServiceError: as `resolve`.
    """
    spec = resolve(spec)
    price = volume_type(spec.volume_type).price
    total = price.per_gib * spec.size_gib + price.per_million_ios * ios_per_month / 1e6
    total += price.per_mibps * max(0, (spec.throughput_mibps or 0) - price.included_mibps)
    return total + _iops_price(price.per_iops, spec.iops or 0)


def _iops_price(tiers: tuple[tuple[int, float], ...], iops: int) -> float:
    total, upto = 0.0, iops
    for start, each in reversed(tiers):
        if upto > start:
            total += each * (upto - start)
            upto = start
    return total
