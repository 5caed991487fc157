"""pyarrow: a partitioned data set written and read with filters, streams, moves."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

url, access_key, secret_key, bucket = sys.argv[1:]
s3 = fs.S3FileSystem(
    access_key=access_key,
    secret_key=secret_key,
    endpoint_override=url.removeprefix("http://"),
    scheme="http",
    region="us-east-1",
)
table = pa.table(
    {
        "id": pa.array(range(100_000)),
        "city": pa.array(["Ulm", "Köln", "Bad Tölz", "Gera"] * 25_000),
        "value": pa.array([number * 0.5 for number in range(100_000)]),
    }
)
ds.write_dataset(
    table,
    f"{bucket}/set",
    format="parquet",
    filesystem=s3,
    partitioning=["city"],
    partitioning_flavor="hive",
)
data = ds.dataset(f"{bucket}/set", format="parquet", filesystem=s3, partitioning="hive")
assert data.count_rows() == 100_000
ulm = data.to_table(filter=(ds.field("city") == "Köln") & (ds.field("id") < 1000))
assert sorted(ulm["id"].to_pylist()) == list(range(1, 1000, 4))
assert pc.sum(data.to_table()["value"]).as_py() == sum(n * 0.5 for n in range(100_000))

large = bytes(range(251)) * 100_000  # 25 MB
with s3.open_output_stream(f"{bucket}/large", metadata={"Content-Type": "text/x-mine"}) as out:
    for at in range(0, len(large), 3_000_000):
        out.write(large[at : at + 3_000_000])
with s3.open_input_file(f"{bucket}/large") as file:
    assert file.size() == len(large)
    assert file.read_at(1000, 20_000_000) == large[20_000_000:20_001_000]
    assert file.read() == large
with s3.open_input_stream(f"{bucket}/large") as stream:
    told = {name.lower(): value for name, value in stream.metadata().items()}
    assert told["content-type"] == b"text/x-mine", told
s3.move(f"{bucket}/large", f"{bucket}/moved")
s3.copy_file(f"{bucket}/moved", f"{bucket}/copied")
infos = s3.get_file_info([f"{bucket}/{name}" for name in ("large", "moved", "copied", "set")])
kinds = [info.type for info in infos]
assert kinds == [
    fs.FileType.NotFound,
    fs.FileType.File,
    fs.FileType.File,
    fs.FileType.Directory,
], kinds
selector = fs.FileSelector(f"{bucket}/set", recursive=True)
assert sum(info.is_file for info in s3.get_file_info(selector)) == 4
s3.delete_dir_contents(bucket)
assert s3.get_file_info(fs.FileSelector(bucket, recursive=True)) == []
print("done")
