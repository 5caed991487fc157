"""restic and s3fs-fuse: a backup that is checked and restored, and a bucket as a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.endpoint import Endpoint
from tests.clients.test_other_tools import Tool, contents, tree

__all__ = ["tree"]

TIMEOUT_S = 120


def test_restic_backs_up_checks_and_restores(
    endpoint: Endpoint, bucket: str, tree: Path, tmp_path: Path
) -> None:
    restic = Tool(
        "restic",
        "--no-cache",
        RESTIC_REPOSITORY=f"s3:{endpoint.url}/{bucket}/backups",
        RESTIC_PASSWORD="secret",
        AWS_ACCESS_KEY_ID=endpoint.access_key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret_key,
        AWS_DEFAULT_REGION=endpoint.region,
        HOME=str(tmp_path),
    )
    restic("init")
    restic("backup", tree)
    first = contents(tree)
    (tree / "small").write_bytes(b"changed")
    (tree / "empty").unlink()
    restic("backup", tree)
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "latest")
    assert contents(tmp_path / "latest" / tree.relative_to("/")) == contents(tree)
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    assert restic("snapshots", "--json").count('"short_id"') == 1
    assert first != contents(tree)


@pytest.fixture
def mounted(endpoint: Endpoint, bucket: str, tmp_path: Path) -> Iterator[Path]:
    """The bucket as a folder."""
    program = shutil.which("s3fs")
    if program is None:
        pytest.skip("s3fs-fuse is not installed: make tools")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no FUSE on this machine: /dev/fuse")
    folder, keys = tmp_path / "mounted", tmp_path / "keys"
    folder.mkdir()
    keys.write_text(f"{endpoint.access_key}:{endpoint.secret_key}")
    keys.chmod(0o600)
    options = f"passwd_file={keys},url={endpoint.url},use_path_request_style,endpoint=us-east-1"
    process = subprocess.Popen(
        [program, bucket, folder, "-f", "-o", options], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not os.path.ismount(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            assert process.stderr is not None
            told = process.stderr.read().decode()
            if "fuse" in told:
                pytest.skip(f"this machine mounts nothing: {told.strip()}")
            pytest.fail(told)
        time.sleep(0.05)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], timeout=TIMEOUT_S, check=False)
        process.wait(TIMEOUT_S)
        assert process.stderr is not None
        process.stderr.close()


def test_a_bucket_as_a_folder(mounted: Path, tree: Path) -> None:
    shutil.copytree(tree, mounted / "tree", copy_function=shutil.copyfile)
    assert contents(mounted / "tree") == contents(tree)
    (mounted / "tree" / "small").rename(mounted / "renamed")
    assert (mounted / "renamed").read_bytes() == (tree / "small").read_bytes()
    with (mounted / "renamed").open("ab") as file:
        file.write(b"more")
    assert (mounted / "renamed").read_bytes() == (tree / "small").read_bytes() + b"more"
    with (mounted / "tree" / "deep" / "er" / "large").open("rb") as file:
        file.seek(15_000_000)
        expected = (tree / "deep" / "er" / "large").read_bytes()
        assert file.read(1000) == expected[15_000_000:15_001_000]
    shutil.rmtree(mounted / "tree")
    assert [path.name for path in mounted.iterdir()] == ["renamed"]
