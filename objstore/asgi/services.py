"""EC2, EBS and KMS beside S3, on one port: told apart by the service that a request is signed for.

A bucket may be called ``snapshots``, so the path alone says nothing: it only tells for
which requests it is worth a look at the credential scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

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
from objstore.entropy import Entropy
from objstore.kms.service import LocalKeyService
from objstore.kms_api.face import KmsFace
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


def make_key_face(
    service: LocalKeyService,
    region: str,
    keys: KeyStore,
    clock: Clock,
    entropy: Entropy,
    config: ServerConfig,
) -> dict[bytes, Face]:
    """The face of the key service, by its name in credential scopes."""
    face = KmsFace(service, region, keys, clock, entropy, skew_s=config.clock_skew_s)
    return {b"kms": face}


class BodyPlaces:
    """A bounded number of bodies that are being read, each at its leisure until others wait.

    Args:
        grace_s: what a body gets at least, from its place on, before it has to make room.
    """

    def __init__(self, places: int, grace_s: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._grace_s = grace_s
        self._read: dict[asyncio.Timeout, float] = {}
        self._waiting = 0

    @asynccontextmanager
    async def body(self, receive: Receive, limit_bytes: int) -> AsyncIterator[bytes]:
        """A whole body, and its place until the caller is done with both.

        Raises:
            S3Error: MaxMessageLengthExceeded.
            ClientDisconnectedError: the client left before the body's end.
            TimeoutError: others wait, and it did not come within the grace.
        """
        loop = asyncio.get_running_loop()
        await self._enter(loop.time())
        try:
            async with asyncio.timeout(self._grace_s if self._waiting else None) as patience:
                self._read[patience] = loop.time()
                try:
                    body = await collect(receive, limit_bytes)
                finally:
                    del self._read[patience]
            yield body
        finally:
            self._places.release()

    async def _enter(self, now_s: float) -> None:
        if self._places.locked():
            self._hurry(now_s)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    def _hurry(self, now_s: float) -> None:
        """Somebody waits: from now on, what is being read has the grace and no more."""
        for patience, begun_s in self._read.items():
            if patience.when() is None:
                patience.reschedule(max(now_s, begun_s + self._grace_s))


class Services:
    """Answers what is signed for a service beside S3, in threads of its own.

    The signature covers the body, so nobody is known before the body has come: until then
    a request holds one of the places for bodies, and no turn.  Who keeps such a place for
    long while others wait for one loses it: connections that trickle never block the rest.
    The place is given up for the turn, so that bodies that wait for one are bounded too.
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
        self._bodies = BodyPlaces(config.max_region_bodies, config.region_body_grace_s)
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
        if length in (None, b"0") and b"transfer-encoding" not in names:
            async with self._turns:
                return await self._in_thread(face, call)
        try:
            async with self._bodies.body(receive, face.max_body_bytes) as body:
                call.body = body
                await self._turns.acquire()
        except S3Error:
            return face.refuse_length(call)
        except TimeoutError:
            return Reply(503, headers=[(b"connection", b"close")])
        try:
            return await self._in_thread(face, call)
        finally:
            self._turns.release()

    async def _in_thread(self, face: Face, call: Call) -> Reply:
        """Authenticate and answer; nothing in there waits for the client."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._thread_limit, "objstore-region")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, face.answer, call)

    def stop(self) -> None:
        """End the threads after what they are at."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
