"""s3fs: a tree of files up and down, files open for writing and reading, moves and removals."""

from __future__ import annotations

import sys
from pathlib import Path

import s3fs

url, access_key, secret_key, bucket, root = sys.argv[1:]
fs = s3fs.S3FileSystem(
    key=access_key,
    secret=secret_key,
    endpoint_url=url,
    client_kwargs={"region_name": "us-east-1"},
    default_block_size=5 * 2**20,
)
source = Path(root)
files = {p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file()}

fs.put(f"{root}/", f"{bucket}/tree/", recursive=True)
found = {path.removeprefix(f"{bucket}/tree/") for path in fs.find(f"{bucket}/tree")}
assert found == set(files), found
for name, content in files.items():
    assert fs.cat(f"{bucket}/tree/{name}") == content, name
    assert fs.info(f"{bucket}/tree/{name}")["size"] == len(content)

large = bytes(range(256)) * (48 * 1024)  # 12 MiB, three parts
with fs.open(f"{bucket}/large", "wb") as file:
    for at in range(0, len(large), 1_000_003):
        file.write(large[at : at + 1_000_003])
with fs.open(f"{bucket}/large", "rb") as file:
    file.seek(7_000_000)
    assert file.read(1000) == large[7_000_000:7_001_000]
    file.seek(-5, 2)
    assert file.read() == large[-5:]
with fs.open(f"{bucket}/large", "ab") as file:
    file.write(b"and more")
assert fs.cat(f"{bucket}/large") == large + b"and more"
assert fs.cat_ranges([f"{bucket}/large"] * 2, [0, 10], [5, 20]) == [large[:5], large[10:20]]

fs.pipe({f"{bucket}/many/{number}": b"%d" % number for number in range(200)})
assert len(fs.ls(f"{bucket}/many")) == 200
fs.mv(f"{bucket}/large", f"{bucket}/moved")
assert not fs.exists(f"{bucket}/large")
assert fs.exists(f"{bucket}/moved")
fs.setxattr(f"{bucket}/moved", copy_kwargs={"ContentType": "text/x-mine"}, colour="red")
assert fs.getxattr(f"{bucket}/moved", "colour") == "red"
fs.rm(f"{bucket}/", recursive=True)
try:
    left = fs.ls(bucket, refresh=True)
except FileNotFoundError:  # a bucket that was removed with what was in it
    left = []
assert left == [], left
print("done")
