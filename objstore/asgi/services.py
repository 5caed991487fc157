"""EC2 and EBS beside S3, on one port: told apart by the service that a request is signed for.

A bucket may be called ``snapshots``, so the path alone says nothing: it only tells for
which requests it is worth a look at the credential scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from starlette.types import Receive, Scope, Send

from blockdev.clock import Clock
from objstore.asgi.body import collect
from objstore.asgi.state import RequestIds
from objstore.auth.keys import KeyStore
from objstore.auth.service import claimed_service
from objstore.aws.http import Call, Face, Reply
from objstore.aws.regions import Regions
from objstore.config import ServerConfig
from objstore.ebs.face import EbsFace
from objstore.ec2.face import Ec2Face
from objstore.s3.errors import S3Error

SHAPES = frozenset((b"", b"/", b"/snapshots"))
"""What the first ten bytes of a path are where a request may be for a service beside S3."""


def make_faces(
    regions: Regions, keys: KeyStore, clock: Clock, config: ServerConfig
) -> dict[bytes, Face]:
    """The faces of `regions`, by their service in credential scopes."""
    skew_s = config.clock_skew_s
    ec2 = Ec2Face(regions, keys, clock, max_body_bytes=config.max_xml_body_bytes, skew_s=skew_s)
    ebs = EbsFace(regions, keys, clock, max_body_bytes=config.max_block_body_bytes, skew_s=skew_s)
    return {b"ec2": ec2, b"ebs": ebs}


class Services:
    """Answers what is signed for a service beside S3, in threads of its own.

    A request waits for its turn before its body is read: that bounds the bodies in memory.
    """

    def __init__(
        self,
        faces: Mapping[bytes, Face],
        request_ids: RequestIds,
        config: ServerConfig,
    ) -> None:
        self._faces = faces
        self._request_ids = request_ids
        self._thread_limit = config.region_threads
        self._threads: ThreadPoolExecutor | None = None
        self._turns = asyncio.Semaphore(config.max_region_calls)

    def face_of(self, scope: Scope) -> Face | None:
        """Whom a request is signed for, None for S3.  Worth a call where `SHAPES` has the path."""
        return self._faces.get(claimed_service(scope["headers"], scope["query_string"]))

    async def answer(self, face: Face, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to a face."""
        request_id = self._request_ids.next()
        call = Call(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], request_id
        )
        async with self._turns:
            reply = await self._reply(face, call, receive)
        headers = [
            *reply.headers,
            (b"x-amzn-requestid", request_id.encode("ascii")),
            (b"server", b"objstore"),
            (b"content-length", b"%d" % len(reply.body)),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, face: Face, call: Call, receive: Receive) -> Reply:
        names = dict(reversed(call.headers))
        length = names.get(b"content-length")
        if length is not None and int(length) > face.max_body_bytes:
            return face.refuse_length(call)
        if length not in (None, b"0") or b"transfer-encoding" in names:
            try:
                call.body = bytes(await collect(receive, face.max_body_bytes))
            except S3Error:
                return face.refuse_length(call)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._thread_limit, "objstore-region")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, face.answer, call)

    def stop(self) -> None:
        """End the threads after what they are at."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
