"""What EC2 lets one ask of a volume, and what it says when one asks for more."""

from __future__ import annotations

import botocore.session
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from blockdev.model import MIB, ServiceError, VolumeSpec
from blockdev.profiles import (
    INSTANCE_STORES,
    VOLUME_TYPES,
    displayed_iops,
    limits,
    max_pending_snapshots,
    monthly_price_usd,
    resolve,
    supports_multi_attach,
)

REFUSED = [
    (
        VolumeSpec("st1", 124),
        "InvalidParameterValue",
        "Volume of 124GiB is too small for volume type st1; minimum is 125GiB.",
    ),
    (
        VolumeSpec("standard", 2_000),
        "InvalidParameterValue",
        "Volume of 2000GiB is too large for volume type standard; maximum is 1024GiB.",
    ),
    (VolumeSpec("gp2", 0), "InvalidParameterValue", "too small"),
    (VolumeSpec("gp2", 16_385), "InvalidParameterValue", "too large"),
    (VolumeSpec("gp3", 65_537), "InvalidParameterValue", "maximum is 65536GiB"),
    (VolumeSpec("io1", 3, 100), "InvalidParameterValue", "minimum is 4GiB"),
    (
        VolumeSpec("io1", 100),
        "InvalidParameterCombination",
        "The parameter iops must be specified for io1 volumes.",
    ),
    (VolumeSpec("io2", 100), "InvalidParameterCombination", "must be specified for io2"),
    (
        VolumeSpec("gp2", 100, 300),
        "InvalidParameterCombination",
        "The parameter iops is not supported for gp2 volumes.",
    ),
    (VolumeSpec("sc1", 125, 250), "InvalidParameterCombination", "not supported for sc1"),
    (VolumeSpec("standard", 10, 100), "InvalidParameterCombination", "standard volumes"),
    (
        VolumeSpec("io2", 100, 1_000, 500),
        "InvalidParameterCombination",
        "throughput can only be specified for volumeType gp3.",
    ),
    (VolumeSpec("gp2", 100, None, 250), "InvalidParameterCombination", "volumeType gp3"),
    (VolumeSpec("io1", 100, 99), "InvalidParameterValue", "iops of 99 is too low; minimum is 100."),
    (VolumeSpec("io1", 9_999, 64_001), "InvalidParameterValue", "too high; maximum is 64000."),
    (VolumeSpec("io2", 9_999, 256_001), "InvalidParameterValue", "maximum is 256000."),
    (VolumeSpec("gp3", 100, 2_999), "InvalidParameterValue", "minimum is 3000."),
    (VolumeSpec("gp3", 9_999, 80_001), "InvalidParameterValue", "maximum is 80000."),
    (
        VolumeSpec("gp3", 20, 15_000),
        "InvalidParameterValue",
        "Iops to volume size ratio of 750.000000 is too high; maximum is 500",
    ),
    (VolumeSpec("io1", 100, 5_001), "InvalidParameterValue", "ratio of 50.010000 is too high"),
    (VolumeSpec("io2", 4, 4_001), "InvalidParameterValue", "maximum is 1000"),
    (
        VolumeSpec("gp3", 100, 3_000, 1_000),
        "InvalidParameterValue",
        "Throughput (MiBps) to iops ratio of 0.333333 is too high; "
        "maximum is 0.250000 MiBps per iops",
    ),
    (VolumeSpec("gp3", 100, 3_000, 124), "InvalidParameterValue", "too low; minimum is 125"),
    (VolumeSpec("gp3", 9_999, 80_000, 2_001), "InvalidParameterValue", "maximum is 2000"),
    (VolumeSpec("gp4", 100), "UnknownVolumeType", "'gp4'"),
    (VolumeSpec("", 100), "UnknownVolumeType", "''"),
]


@pytest.mark.parametrize(("spec", "code", "message"), REFUSED, ids=str)
def test_what_is_refused(spec: VolumeSpec, code: str, message: str) -> None:
    for check in (resolve, limits, monthly_price_usd):
        with pytest.raises(ServiceError) as caught:
            check(spec)
        assert caught.value.code == code
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("spec", "resolved"),
    [
        (VolumeSpec("gp2", 1), VolumeSpec("gp2", 1)),
        (VolumeSpec("gp3", 1), VolumeSpec("gp3", 1, 3_000, 125)),
        (VolumeSpec("gp3", 32, 16_000), VolumeSpec("gp3", 32, 16_000, 125)),
        (VolumeSpec("gp3", 65_536, 80_000, 2_000), VolumeSpec("gp3", 65_536, 80_000, 2_000)),
        (VolumeSpec("io1", 4, 200), VolumeSpec("io1", 4, 200)),
        (VolumeSpec("io2", 256, 256_000), VolumeSpec("io2", 256, 256_000)),
        (VolumeSpec("st1", 16_384), VolumeSpec("st1", 16_384)),
    ],
    ids=str,
)
def test_what_is_filled_in(spec: VolumeSpec, resolved: VolumeSpec) -> None:
    assert resolve(spec) == resolved
    assert resolve(resolved) == resolved


provisioned = st.builds(
    VolumeSpec,
    st.sampled_from(["gp3", "io1", "io2"]),
    st.integers(1, 70_000),
    st.integers(90, 300_000),
    st.none() | st.integers(100, 2_100),
)
plain = st.builds(VolumeSpec, st.sampled_from(sorted(VOLUME_TYPES)), st.integers(1, 20_000))
specs = plain | provisioned


@given(specs)
def test_what_is_allowed_stays_so_and_can_be_simulated(spec: VolumeSpec) -> None:
    try:
        resolved = resolve(spec)
    except ServiceError:
        event("refused")
        return
    event("allowed")
    assert resolve(resolved) == resolved
    figures = limits(resolved)
    assert figures == limits(spec)
    assert figures.ios.tokens_per_s >= 100
    assert figures.throughput.depth >= figures.unit_bytes
    assert monthly_price_usd(resolved) > 0


def test_the_spans_are_those_of_the_api_text() -> None:
    """botocore's model of CreateVolume holds AWS's own figures."""
    model = botocore.session.get_session().get_service_model("ec2")
    members = model.operation_model("CreateVolume").input_shape.members
    sizes, iops = members["Size"].documentation, members["Iops"].documentation
    for name, kind in VOLUME_TYPES.items():
        shown = f"{kind.size_gib.least:,} - {kind.size_gib.most:,} ".replace(" 1,024 ", " 1024 ")
        label = "st1 and sc1" if kind.is_hdd and name != "standard" else name
        assert f"{label}: <code>{shown.strip()}</code>" in sizes
        if kind.iops is not None:
            default = "<i>default</i>" if kind.default_iops else ""
            text = iops.replace("</code>(", "(").replace(" (<i>", "(<i>")
            assert f"{name}: <code>{kind.iops.least:,}" in text
            assert f"{kind.iops.most:,}</code> IOPS" in text
            assert (default in text) or not default
    assert "<code>125 - 2000</code> MiB/s" in members["Throughput"].documentation


@pytest.mark.parametrize(
    ("spec", "usd"),
    [
        (VolumeSpec("gp2", 100), 10.0),
        (VolumeSpec("gp3", 100), 8.0),
        (VolumeSpec("gp3", 100, 6_000, 250), 8.0 + 15.0 + 5.0),
        (VolumeSpec("io1", 100, 1_000), 12.5 + 65.0),
        (VolumeSpec("io2", 200, 10_000), 25.0 + 650.0),
        (VolumeSpec("io2", 1_000, 100_000), 125 + 2_080 + 32_000 * 0.046 + 36_000 * 0.032),
        (VolumeSpec("st1", 1_000), 45.0),
        (VolumeSpec("sc1", 1_000), 15.0),
        (VolumeSpec("standard", 100), 5.0),
    ],
    ids=str,
)
def test_prices(spec: VolumeSpec, usd: float) -> None:
    assert monthly_price_usd(spec) == pytest.approx(usd)


def test_use_is_paid_for_on_magnetic_only() -> None:
    million = 1e6
    assert monthly_price_usd(VolumeSpec("standard", 100), 10 * million) == pytest.approx(5.5)
    assert monthly_price_usd(VolumeSpec("gp2", 100), 10 * million) == pytest.approx(10.0)


def test_what_a_description_shows_as_iops() -> None:
    assert [displayed_iops(VolumeSpec("gp2", size)) for size in (1, 33, 34, 100, 6_000)] == [
        *(100, 100, 102, 300, 16_000)
    ]
    assert displayed_iops(VolumeSpec("gp3", 10)) == 3_000
    assert displayed_iops(VolumeSpec("io2", 10, 500)) == 500
    assert displayed_iops(VolumeSpec("st1", 125)) is None


def test_the_rules_that_others_ask_for() -> None:
    assert {name for name in VOLUME_TYPES if supports_multi_attach(name)} == {"io1", "io2"}
    assert not supports_multi_attach("nonsense")
    assert {name: max_pending_snapshots(name) for name in ("gp2", "st1", "sc1")} == {
        "gp2": 5,
        "st1": 1,
        "sc1": 1,
    }


def test_latencies_keep_what_aws_promises() -> None:
    """Single-digit milliseconds for general purpose and io1; under one on average for io2."""
    for name in ("gp2", "gp3", "io1"):
        model = VOLUME_TYPES[name].latency
        assert max(model.read.p99_ns, model.write.p99_ns) < 10_000_000
    model = VOLUME_TYPES["io2"].latency
    assert max(model.read.mean_ns, model.write.mean_ns) < 1_000_000


def test_instance_stores() -> None:
    assert {"i3.large", "i3.16xlarge", "i4i.large", "i4i.32xlarge"} <= set(INSTANCE_STORES)
    store = INSTANCE_STORES["i4i.32xlarge"]
    assert (store.disks, store.disk_bytes) == (8, 3_750_000_000_000)
    assert (store.read_iops, store.write_iops) == (3_200_000, 1_760_000)
    assert store.read_mibps == pytest.approx(8 * 3_087_631_104 / MIB)
    for name, store in INSTANCE_STORES.items():
        whole, disk = store.limits(), store.disk_limits()
        assert whole.ios.tokens_per_s // whole.ios.read_cost == store.read_iops, name
        assert whole.ios.tokens_per_s // whole.ios.write_cost == store.write_iops, name
        assert disk.ios.tokens_per_s // disk.ios.read_cost == store.read_iops // store.disks, name
        written = disk.throughput.tokens_per_s // disk.throughput.write_cost
        assert written == store.disk_write_bytes_per_s, name
