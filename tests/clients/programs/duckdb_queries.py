"""DuckDB's httpfs: tables out as Parquet and CSV, and queries that read parts of them."""

from __future__ import annotations

import sys

import duckdb
from duckdb_extensions import import_extension

url, access_key, secret_key, bucket = sys.argv[1:]
import_extension("httpfs")
db = duckdb.connect()
db.execute("LOAD httpfs")
db.execute(
    f"""CREATE SECRET s (TYPE s3, KEY_ID '{access_key}', SECRET '{secret_key}',
        ENDPOINT '{url.removeprefix("http://")}', URL_STYLE 'path', USE_SSL false,
        REGION 'us-east-1')"""
)
db.execute(
    """CREATE TABLE t AS
       SELECT i AS id, i % 7 AS part, md5(i::VARCHAR) AS text FROM range(300000) r(i)"""
)
expected = db.execute("SELECT count(*), sum(id), min(text), max(text) FROM t").fetchone()
where = f"s3://{bucket}"
db.execute(f"COPY t TO '{where}/one.parquet'")
db.execute(f"COPY t TO '{where}/one.csv' (HEADER)")
db.execute(f"COPY t TO '{where}/set' (FORMAT parquet, PARTITION_BY (part))")
for source in (f"'{where}/one.parquet'", f"'{where}/one.csv'", f"'{where}/set/**/*.parquet'"):
    found = db.execute(f"SELECT count(*), sum(id), min(text), max(text) FROM {source}").fetchone()
    assert found == expected, (source, found)
one = db.execute(f"SELECT text FROM '{where}/one.parquet' WHERE id = 271828").fetchone()
assert one == db.execute("SELECT md5('271828')").fetchone()
by_part = db.execute(
    f"SELECT count(*) FROM read_parquet('{where}/set/*/*.parquet', hive_partitioning = true) "
    "WHERE part = 3"
).fetchone()
assert by_part == db.execute("SELECT count(*) FROM t WHERE part = 3").fetchone()
names = db.execute(f"SELECT count(*) FROM glob('{where}/set/**')").fetchone()
assert names is not None
assert names[0] >= 7
print("done")
