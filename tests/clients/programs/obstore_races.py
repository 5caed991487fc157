"""obstore: parts, ranges, pages, and the conditional writes that catalogs are built on."""

from __future__ import annotations

import asyncio
import sys

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import S3Store

url, access_key, secret_key, bucket = sys.argv[1:]
store = S3Store(
    bucket,
    endpoint=url,
    access_key_id=access_key,
    secret_access_key=secret_key,
    region="us-east-1",
    client_options={"allow_http": True},
)
large = bytes(range(253)) * 100_000  # 25 MB
obstore.put(store, "large", large, use_multipart=True)
assert bytes(obstore.get(store, "large").bytes()) == large
assert b"".join(bytes(piece) for piece in obstore.get(store, "large").stream()) == large
ranges = obstore.get_ranges(store, "large", starts=[0, 9_000_000], lengths=[10, 1000])
assert [bytes(each) for each in ranges] == [large[:10], large[9_000_000:9_001_000]]
for number in range(1100):
    obstore.put(store, f"many/{number:04}", b"%d" % number)
pages = [len(page) for page in obstore.list(store, prefix="many/", chunk_size=500)]
assert sum(pages) == 1100, pages
folder = obstore.list_with_delimiter(store)
assert folder["common_prefixes"] == ["many"], folder
obstore.copy(store, "large", "copy")
obstore.rename(store, "copy", "renamed")
assert obstore.head(store, "renamed")["size"] == len(large)

obstore.put(store, "once", b"first", mode="create")
try:
    obstore.put(store, "once", b"second", mode="create")
except AlreadyExistsError:
    pass
else:
    raise AssertionError("an object was made twice")


async def add(count: int) -> None:
    """Add to a number that others add to as well."""
    for _ in range(count):
        while True:
            found = await obstore.get_async(store, "count")
            number = int(bytes(await found.bytes_async()))
            version = {"e_tag": found.meta["e_tag"]}
            try:
                await obstore.put_async(store, "count", b"%d" % (number + 1), mode=version)
                break
            except PreconditionError:
                continue


async def race() -> None:
    await asyncio.gather(*(add(20) for _ in range(6)))


obstore.put(store, "count", b"0")
asyncio.run(race())
assert bytes(obstore.get(store, "count").bytes()) == b"120"
names = [entry["path"] for page in obstore.list(store) for entry in page]
obstore.delete(store, names)
try:
    obstore.head(store, "once")
except (NotFoundError, FileNotFoundError):
    print("done")
