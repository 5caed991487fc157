"""Clients of data tools and of JavaScript, each in a program of its own; `make clients` has them.

They are installed apart from what the project itself needs (`.clients/`), as some of them want
other releases of botocore.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint
from tests.crash.tiny import pattern

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".clients"
PYTHON = CLIENTS / "venv" / "bin" / "python"
MODULES = CLIENTS / "node"
TIMEOUT_S = 300


def run(command: list[str | Path], endpoint: Endpoint, *arguments: str | Path) -> None:
    """Run a program that has to get to its end."""
    keys = (endpoint.access_key, endpoint.secret_key)
    done = subprocess.run(
        [*command, endpoint.url, *keys, *arguments],
        env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    assert done.stdout.endswith(b"done\n"), done.stdout.decode()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of awkward names and sizes."""
    root = tmp_path / "tree"
    sizes = {"small": 3, "empty": 0, "a b/é ü+%.txt": 1000, "deep/er/large": 12_000_001}
    for number, (name, size_bytes) in enumerate(sizes.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pattern(number, size_bytes))
    return root


@pytest.mark.parametrize(
    ("module", "program"),
    [
        ("s3fs", "s3fs_tree"),
        ("pyarrow", "pyarrow_dataset"),
        ("obstore", "obstore_races"),
        ("deltalake", "deltalake_commits"),
        ("duckdb", "duckdb_queries"),
    ],
)
def test_python(module: str, program: str, endpoint: Endpoint, bucket: str, tree: Path) -> None:
    if not PYTHON.exists():
        pytest.skip(f"{module} is not installed: make .clients/.python")
    arguments = [bucket, str(tree)] if module == "s3fs" else [bucket]
    run([PYTHON, HERE / "programs" / f"{program}.py"], endpoint, *arguments)


@pytest.mark.parametrize("program", ["minio_tree", "aws_tree"])
def test_javascript(program: str, endpoint: Endpoint, bucket: str, tree: Path, s3: Any) -> None:
    node = shutil.which("node")
    if node is None or not (MODULES / "node_modules").is_dir():
        pytest.skip("node or its packages are not installed: make .clients/.node")
    # node looks for packages from where a program lies
    copy = MODULES / f"{program}.js"
    shutil.copyfile(HERE / "javascript" / f"{program}.js", copy)
    run([node, copy], endpoint, bucket, tree)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
