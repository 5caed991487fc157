"""A real ext4 file system on a volume: in through NBD, snapshot, change, restore, compare.

`mkfs.ext4 -d` makes it from a folder and `debugfs` changes and extracts it, so nothing has
to be mounted.  Everything goes through the `blockdev` command and NBD, as a user would do it.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.nbd_process import NbdProcess, blockdev
from tests.clients.nbd_tools import run

MIB = 1024 * 1024
IMAGE_BYTES = 96 * MIB

Tree = dict[str, bytes | str]
"""Every path below a folder: a file's bytes, or what a symbolic link points to."""


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Path]:
    """A region's folder, checked whole at the end."""
    folder = tmp_path / "region"
    yield folder
    assert blockdev(folder, "check") == "clean"


def make_tree(folder: Path, seed: int) -> None:
    """Files of all sizes, with holes, with odd names, links and deep folders."""
    numbers = random.Random(seed)
    folder.mkdir()
    for number in range(60):
        sub = folder / f"dir{number % 7}" / f"sub{number % 3}"
        sub.mkdir(parents=True, exist_ok=True)
        size = numbers.choice((0, 1, 100, 4095, 4096, 4097, 60_000, 300_000))
        (sub / f"file {number} größe.bin").write_bytes(numbers.randbytes(size))
    (folder / "large").write_bytes(numbers.randbytes(20 * MIB))
    (folder / "text").write_text("the same line again\n" * 50_000)
    with (folder / "sparse").open("wb") as file:
        file.seek(8 * MIB)
        file.write(b"behind the hole")
    (folder / "link").symlink_to("dir1/sub1")


def tree_of(folder: Path) -> Tree:
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif stat.S_ISREG(path.stat().st_mode):
            found[name] = path.read_bytes()
    found.pop("lost+found", None)
    return found


def extract(image: Path, target: Path) -> Tree:
    """What is in a file system, which has to be clean."""
    run("e2fsck", "-f", "-n", image)
    target.mkdir()
    run("debugfs", "-R", f"rdump / {target}", image)
    return tree_of(target)


def change(image: Path, folder: Path, seed: int) -> None:
    """The same changes to the file system in the image and to the folder it was made from."""
    new = random.Random(seed + 1).randbytes(3 * MIB)
    source = folder.with_name("new-file")
    source.write_bytes(new)
    commands = folder.with_name("commands")
    gone = "dir0/sub0/file 0 größe.bin"
    commands.write_text(
        f'rm "/{gone}"\nrm /large\nmkdir /added\nwrite {source} /added/new\n'
        f"rm /text\nwrite {source} /text\nsymlink /second /added/new\n"
    )
    run("debugfs", "-w", "-f", commands, image)
    (folder / gone).unlink()
    (folder / "large").unlink()
    (folder / "added").mkdir()
    (folder / "added/new").write_bytes(new)
    (folder / "text").write_bytes(new)
    (folder / "second").symlink_to("/added/new")


@pytest.fixture
def serve(region: Path) -> Iterator[Callable[[str], NbdProcess]]:
    """Starts `blockdev nbd` for a volume; whatever still runs at the end is stopped."""
    started: list[NbdProcess] = []

    def serve(volume_id: str) -> NbdProcess:
        started.append(NbdProcess(region, volume_id))
        return started[-1]

    yield serve
    for process in started:
        process.stop()


def fetch(serve: Callable[[str], NbdProcess], volume_id: str, image: Path) -> Path:
    """A volume's content through NBD, cut to the size that the file system was made with."""
    server = serve(volume_id)
    run("nbdcopy", server.uri, image)
    server.stop()
    with image.open("r+b") as file:
        file.truncate(IMAGE_BYTES)
    return image


def test_an_ext4_file_system_comes_back_as_it_was(
    region: Path, serve: Callable[[str], NbdProcess], tmp_path: Path, seed: int
) -> None:
    folder, image = tmp_path / "tree", tmp_path / "image"
    make_tree(folder, seed)
    before = tree_of(folder)
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    run("mkfs.ext4", "-q", "-F", "-d", folder, image)

    volume_id = blockdev(region, "create", "--size", 1, "--type", "gp3")
    server = serve(volume_id)
    run("nbdcopy", "--flush", image, server.uri)
    first = blockdev(region, "snapshot", volume_id)  # while it is being served

    change(image, folder, seed)
    after = tree_of(folder)
    assert before != after
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, server.uri)
    second = blockdev(region, "snapshot", volume_id)
    server.stop()

    live = fetch(serve, volume_id, tmp_path / "live.img")
    assert extract(live, tmp_path / "live") == after
    for snapshot_id, expected in ((first, before), (second, after)):
        restored = blockdev(region, "restore", snapshot_id, "--type", "gp3")
        through_nbd = fetch(serve, restored, tmp_path / f"{snapshot_id}.img")
        assert extract(through_nbd, tmp_path / snapshot_id) == expected
    blockdev(region, "delete-snapshot", first)
    exported = tmp_path / "exported.img"
    blockdev(region, "export", second, exported)
    with exported.open("r+b") as file:
        file.truncate(IMAGE_BYTES)
    assert extract(exported, tmp_path / "exported") == after
