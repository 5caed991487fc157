"""What `pip install .` would install."""

from __future__ import annotations

import email.parser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

USE_IT = """
import sys
sys.path.insert(0, sys.argv[1])
import blockdev, objstore
assert objstore.__file__.startswith(sys.argv[1]), objstore.__file__
assert blockdev.__file__.startswith(sys.argv[1]), blockdev.__file__
with objstore.ObjectStore.open(sys.argv[2]) as store:
    store.put("bucket", "key", b"value")
    with store.get("bucket", "key") as reader:
        assert reader.read() == b"value"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the tree as it stands."""
    target = tmp_path_factory.mktemp("wheel")
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        target,
    ]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [built] = target.glob("*.whl")
    return built


def test_it_holds_both_packages_their_types_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"objstore/py.typed", "blockdev/py.typed", "objstore/cli.py"} <= names
    assert "objstore/ec2/actions.txt" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"objstore", "blockdev"}
    sources = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("objstore/**/*.py")}
    assert sources <= names


def test_its_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.parser.Parser().parsestr(archive.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "# objstore" in metadata.get_payload()
    [entry_points] = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
    assert "objstore = objstore.cli:main" in archive.read(entry_points).decode()


def test_it_works_when_imported(wheel: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", USE_IT, str(wheel), str(store)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
