"""nbdinfo, nbdcopy, qemu-img, qemu-io and fio against a device served over NBD."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev.file import FileDevice
from blockdev.memory import MemoryDevice
from blockdev.nbd import Address, Export, NbdServer, TcpAddress, UnixAddress
from tests.clients.nbd_tools import attempt, fio, run, tool

MIB = 1024 * 1024
SIZE = 64 * MIB


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest) -> Iterator[Address]:
    """Where to listen; a socket's path has to be short, so it is not below pytest's."""
    with tempfile.TemporaryDirectory(prefix="nbd-") as folder:
        where: dict[str, Address] = {
            "tcp": TcpAddress("127.0.0.1", 0),
            "unix": UnixAddress(Path(folder) / "socket"),
        }
        yield where[request.param]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[FileDevice]:
    device = FileDevice.open(tmp_path / "volume", size_bytes=SIZE)
    yield device
    device.close()


@pytest.fixture
def uri(device: FileDevice, address: Address) -> Iterator[str]:
    with NbdServer({"vol": Export(device, description="A volume")}, address) as server:
        yield server.address.uri("vol")


@pytest.fixture
def image(tmp_path: Path, seed: int) -> Path:
    """A sparse image: data at both ends and in the middle."""
    path = tmp_path / "image"
    numbers = random.Random(seed)
    with path.open("wb") as file:
        for at in (0, 20 * MIB + 12345, SIZE - 3 * MIB):
            file.seek(at)
            file.write(numbers.randbytes(3 * MIB))
    return path


def test_nbdinfo_tells_what_is_there(uri: str) -> None:
    told = json.loads(run("nbdinfo", "--json", uri))
    [export] = told["exports"]
    assert told["protocol"] == "newstyle-fixed"
    assert told["structured"]
    assert export["export-name"] == "vol"
    assert export["description"] == "A volume"
    assert export["export-size"] == SIZE
    assert export["contexts"] == ["base:allocation"]
    assert not export["is_read_only"]
    assert not export["can_fast_zero"]
    for can in ("flush", "fua", "multi_conn", "trim", "zero", "df", "cache"):
        assert export[f"can_{can}"], can
    sizes = (export["block_size_minimum"], export["block_size_maximum"])
    assert sizes == (1, 32 * MIB)


def test_nbdinfo_lists_several_exports() -> None:
    exports = {
        "one": Export(MemoryDevice(MIB)),
        "two": Export(MemoryDevice(2 * MIB), read_only=True),
    }
    with NbdServer(exports, TcpAddress("127.0.0.1", 0)) as server:
        told = json.loads(run("nbdinfo", "--json", "--list", server.address.uri("")))
        assert {each["export-name"]: each["export-size"] for each in told["exports"]} == {
            "one": MIB,
            "two": 2 * MIB,
        }
        assert [each["is_read_only"] for each in told["exports"]] == [False, True]
        assert attempt("nbdinfo", "--can", "write", server.address.uri("two")).returncode == 2
        assert attempt("nbdinfo", server.address.uri("three")).returncode == 1


@pytest.mark.parametrize("connections", [1, 4])
def test_nbdcopy_in_and_out(
    uri: str, image: Path, device: FileDevice, tmp_path: Path, connections: int
) -> None:
    run("nbdcopy", f"--connections={connections}", "--flush", image, uri)
    back = tmp_path / "back"
    run("nbdcopy", f"--connections={connections}", uri, back)
    assert back.read_bytes() == image.read_bytes()
    # What was a hole in the image is one in the volume and on the way out.
    assert not any(extent.allocated for extent in device.extents(4 * MIB, 8 * MIB))
    assert back.stat().st_blocks * 512 < 12 * MIB
    total = run("nbdinfo", "--map", "--totals", uri)
    assert "hole,zero" in total


def test_qemu_img_converts_both_ways(uri: str, image: Path, tmp_path: Path) -> None:
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-m", "8", "-W", image, uri)
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)
    back = tmp_path / "back.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, back)
    assert "identical" in run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", back, image)
    mapped = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", uri))
    assert any(run_["zero"] for run_ in mapped)
    assert any(run_["data"] for run_ in mapped)


def test_qemu_io_writes_zeroes_discards_and_flushes(uri: str, device: FileDevice) -> None:
    steps = [
        "write -P 0xab 1M 4M",
        "write -f -P 0xcd 8M 64k",
        "discard 2M 1M",
        "write -z 3M 512k",
        "write -z -u 4M 512k",
        "flush",
        "read -P 0xab 1M 1M",
        "read -P 0 2M 1M",
        "read -P 0 3M 512k",
        "read -P 0 4M 512k",
        "read -P 0xab 4608k 512k",
        "read -P 0xcd 8M 64k",
        "aio_write -P 0x11 10M 1M",
        "aio_write -P 0x22 11M 1M",
        "aio_flush",
        "read -P 0x11 10M 1M",
        "read -P 0x22 11M 1M",
    ]
    commands = [argument for step in steps for argument in ("-c", step)]
    told = run("qemu-io", "-f", "raw", "-t", "none", *commands, uri)
    assert "failed" not in told, told
    buffer = bytearray(64 * 1024)
    device.read_into(8 * MIB, buffer)
    assert buffer == b"\xcd" * 64 * 1024
    assert not any(extent.allocated for extent in device.extents(2 * MIB, MIB))
    assert all(extent.allocated for extent in device.extents(3 * MIB, 512 * 1024))


def test_a_read_only_export_stays_as_it_is(image: Path) -> None:
    device = MemoryDevice(SIZE)
    exports = {"frozen": Export(device, read_only=True)}
    with NbdServer(exports, TcpAddress("127.0.0.1", 0)) as server:
        uri = server.address.uri("frozen")
        assert attempt("nbdcopy", image, uri).returncode != 0
        assert attempt("qemu-io", "-f", "raw", "-c", "write 0 4k", uri).returncode != 0
        run("qemu-io", "-f", "raw", "-r", "-c", "read -P 0 0 1M", uri)
    assert device.allocated_bytes == 0


@pytest.mark.parametrize(
    "options",
    [
        {"rw": "randrw", "bs": "4k", "iodepth": 32, "size": "24m"},
        {"rw": "write", "bs": "1m", "iodepth": 8, "size": "48m"},
        {"rw": "randwrite", "bsrange": "512-256k", "iodepth": 16, "size": "24m"},
        {"rw": "randwrite", "bs": "4k", "iodepth": 8, "size": "8m", "fsync": 16},
        # Trims and writes one place after the other, so it must not have both under way.
        {"rw": "randtrimwrite", "bs": "64k", "iodepth": 1, "size": "4m"},
    ],
    ids=["random", "sequential", "sizes", "fsync", "trim"],
)
def test_fio_reads_what_it_wrote(uri: str, tmp_path: Path, options: dict[str, object]) -> None:
    fio(uri, tmp_path, **options)


def test_fio_from_several_processes_at_once(uri: str, tmp_path: Path) -> None:
    options = {"numjobs": 4, "size": "8m", "offset_increment": "8m"}
    fio(uri, tmp_path, rw="randrw", bs="4k", iodepth=16, **options)


def test_fio_reads_back_with_the_server_restarted(
    device: FileDevice, address: Address, tmp_path: Path
) -> None:
    """Written and flushed through one server, verified through the next one."""
    tool("fio")
    job: dict[str, object] = {"rw": "randwrite", "bs": "8k", "iodepth": 16, "size": "16m"}
    with NbdServer({"vol": Export(device)}, address) as server:
        fio(server.address.uri("vol"), tmp_path, **job, do_verify=0, randseed=7)
    with NbdServer({"vol": Export(device)}, address) as server:
        fio(server.address.uri("vol"), tmp_path, **job, verify_only=1, randseed=7)
