"""A server whose device fails on request; run by test_server_workers.

    python -m tests.s3.poisoned_program DATA_DIR WORKERS ACCESS_KEY SECRET_KEY

Prints its address once it serves.  Creating the bucket ``poison`` makes the store of
the process that is asked believe that its device has failed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from blockdev import DeviceIOError
from objstore import ObjectStore
from objstore.asgi.launch import Settings, serve
from objstore.asgi.server import bind, url_of

create_bucket = ObjectStore.create_bucket


def create_or_poison(store: ObjectStore, bucket: str, **options: Any) -> Any:
    if bucket == "poison":
        store._core.committer.poison(DeviceIOError("on purpose"))
    return create_bucket(store, bucket, **options)


def announce(url: str) -> None:
    os.write(1, f"{url}\n".encode())


if __name__ == "__main__":
    setattr(ObjectStore, "create_bucket", create_or_poison)  # noqa: B010  (mypy)
    folder, workers, access_key, secret_key = sys.argv[1:]
    settings = Settings(Path(folder), access_key, secret_key, workers=int(workers))
    listener = bind("127.0.0.1", 0)
    url = url_of(listener)
    sys.exit(serve(settings, listener, on_ready=lambda: announce(url)))
