"""rclone, s5cmd, s3cmd and MinIO's SDK, each with a task of its own, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clients.endpoint import SCRIPTS, Endpoint
from tests.crash.tiny import pattern

TIMEOUT_S = 120
FILES = {
    "small": 3,
    "empty": 0,
    "a b/é ü+%.txt": 1000,
    "deep/er/large": 20_000_001,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that are awkward by their names and sizes."""
    root = tmp_path / "source"
    for number, (name, size_bytes) in enumerate(FILES.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pattern(number, size_bytes))
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


class Tool:
    """A command of a client; a test that needs one which is not installed is skipped."""

    def __init__(self, name: str, *options: str, **environment: str) -> None:
        found = shutil.which(name, path=f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")
        if found is None:
            pytest.skip(f"{name} is not installed: pip install '.[dev]', or make tools")
        self._path = found
        self._options = options
        self._environment = os.environ | environment

    def __call__(self, *arguments: str | Path) -> str:
        """What a command prints that has to succeed."""
        done = subprocess.run(
            [self._path, *self._options, *map(str, arguments)],
            env=self._environment,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def rclone(endpoint: Endpoint, tmp_path: Path) -> Tool:
    return Tool(
        "rclone",
        "--retries=1",
        RCLONE_CONFIG=str(tmp_path / "rclone.conf"),
        RCLONE_CONFIG_OBJSTORE_TYPE="s3",
        RCLONE_CONFIG_OBJSTORE_PROVIDER="Other",
        RCLONE_CONFIG_OBJSTORE_ENDPOINT=endpoint.url,
        RCLONE_CONFIG_OBJSTORE_REGION=endpoint.region,
        RCLONE_CONFIG_OBJSTORE_ACCESS_KEY_ID=endpoint.access_key,
        RCLONE_CONFIG_OBJSTORE_SECRET_ACCESS_KEY=endpoint.secret_key,
    )


def test_rclone_keeps_a_tree_in_step(rclone: Tool, bucket: str, tree: Path, tmp_path: Path) -> None:
    remote = f"objstore:{bucket}/tree"
    rclone("copy", tree, remote, "--s3-upload-cutoff=5M")
    rclone("check", tree, remote)
    (tree / "small").write_bytes(b"changed")
    (tree / "empty").unlink()
    rclone("sync", tree, remote)
    rclone("check", tree, remote)
    rclone("moveto", f"{remote}/deep/er/large", f"{remote}/moved")
    rclone("copy", remote, tmp_path / "back")
    wanted = contents(tree)
    wanted["moved"] = wanted.pop("deep/er/large")
    assert contents(tmp_path / "back") == wanted
    listed = rclone("lsf", "-R", "--files-only", remote).splitlines()
    assert sorted(listed) == sorted(wanted)
    rclone("purge", f"objstore:{bucket}/tree")
    assert rclone("lsf", f"objstore:{bucket}") == ""


def test_s5cmd_copies_many(endpoint: Endpoint, bucket: str, tree: Path, tmp_path: Path) -> None:
    s5cmd = Tool(
        "s5cmd",
        f"--endpoint-url={endpoint.url}",
        AWS_ACCESS_KEY_ID=endpoint.access_key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret_key,
        AWS_REGION=endpoint.region,
    )
    s5cmd("cp", f"{tree}/", f"s3://{bucket}/tree/")
    s5cmd("cp", f"s3://{bucket}/tree/*", f"s3://{bucket}/copy/")
    s5cmd("cp", f"s3://{bucket}/copy/*", f"{tmp_path / 'back'}/")
    assert contents(tmp_path / "back") == contents(tree)
    assert s5cmd("du", f"s3://{bucket}/tree/*").split()[0] == str(sum(FILES.values()))
    s5cmd("rm", f"s3://{bucket}/*")
    assert s5cmd("ls", f"s3://{bucket}") == ""


def test_s3cmd_backs_up(endpoint: Endpoint, bucket: str, tree: Path, tmp_path: Path) -> None:
    host = urlsplit(endpoint.url).netloc
    s3cmd = Tool(
        "s3cmd",
        f"--config={os.devnull}",
        f"--host={host}",
        f"--host-bucket={host}",
        "--no-ssl",
        f"--access_key={endpoint.access_key}",
        f"--secret_key={endpoint.secret_key}",
        f"--region={endpoint.region}",
        "--no-progress",
    )
    s3cmd("sync", "--multipart-chunk-size-mb=5", f"{tree}/", f"s3://{bucket}/tree/")
    s3cmd("sync", f"s3://{bucket}/tree/", f"{tmp_path / 'back'}/")
    assert contents(tmp_path / "back") == contents(tree)
    assert "BucketOwnerEnforced" in s3cmd("info", f"s3://{bucket}")
    s3cmd("mv", f"s3://{bucket}/tree/small", f"s3://{bucket}/moved")
    assert "moved" in s3cmd("ls", f"s3://{bucket}")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert s3cmd("ls", f"s3://{bucket}") == ""


@pytest.fixture
def minio(endpoint: Endpoint) -> Any:
    module = pytest.importorskip("minio", reason="minio is not installed: pip install '.[dev]'")
    return module.Minio(
        urlsplit(endpoint.url).netloc,
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        region=endpoint.region,
        secure=False,
    )


def test_minios_sdk(minio: Any, bucket: str, tree: Path, tmp_path: Path) -> None:
    for name in FILES:
        minio.fput_object(bucket, name, str(tree / name), part_size=5 * 1024 * 1024)
    for name in FILES:
        minio.fget_object(bucket, name, str(tmp_path / "back" / name))
    assert contents(tmp_path / "back") == contents(tree)
    names = [each.object_name for each in minio.list_objects(bucket, recursive=True)]
    assert sorted(names) == sorted(FILES)
    stat = minio.stat_object(bucket, "small")
    assert stat.size == FILES["small"]
    part = minio.get_object(bucket, "deep/er/large", offset=1000, length=10)
    assert part.data == (tree / "deep/er/large").read_bytes()[1000:1010]
    part.close()
    for name in FILES:
        minio.remove_object(bucket, name)
    assert list(minio.list_objects(bucket)) == []
