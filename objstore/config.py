"""Every limit, threshold and deadline in one place; units in the names.

`StoreConfig` bounds the engine, `ServerConfig` the HTTP front, `ChunkLimits` the framing
of bodies.  S3's own limits are constants: they are the protocol's, not a choice.  So are
bounds that nobody has a reason to set, and those that are asked for at every request.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# S3's limits, https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_OBJECT_BYTES = 50 * TIB
MAX_PUT_BYTES = 5 * GIB
MAX_COPY_BYTES = 5 * GIB
MAX_PART_BYTES = 5 * GIB
MIN_PART_BYTES = 5 * MIB
MAX_PARTS = 10_000
MAX_KEY_BYTES = 1024
MAX_USER_METADATA_BYTES = 2 * KIB
MAX_ENCRYPTION_CONTEXT_BYTES = 8 * KIB
MAX_DELETE_KEYS = 1000
MAX_LIST_KEYS = 1000
MAX_TAGS = 10
MAX_BUCKET_TAGS = 50
MAX_BUCKETS = 10_000
MAX_PRESIGN_S = 7 * 24 * 3600

# The engine.

MAX_PROCESSES = 1024
"""That have one store open: cells of ``run/slots``, which the format fixes."""

LOCK_WAIT_NS = 60 * 10**9
LOCK_POLL_NS = 5_000_000
"""How long opening a store waits for another process that recovers it; how often it looks."""

LEAST_SEGMENT_BYTES = 64 * KIB
LEAST_SEGMENTS = 4
"""Of a store that is made."""

REPLAY_BATCHES = 2000
REPLAY_BYTES = 32 * MIB
"""The most of the log that recovery applies, and holds, in one transaction."""

RESYNC_BYTES = 1 * MIB
"""Read at a time in search of the next batch behind damage."""

BUCKETS_CACHED = 4096
"""Buckets whose rows are kept decoded."""

SPACE_EVERY_BYTES = 1 * MIB
"""The file system is asked how much room it has once in so many bytes of the log."""

FIRST_EXTENT_BYTES = 4 * MIB
"""Reserved for a stream of unknown length; its next extents double."""

TABLE_WINDOW_BYTES = 4 * KIB
"""Checksums of an extent that a reader holds at a time."""

COMPLETED_VERSIONS_SEARCHED = 1000
"""Among how many older versions of a key a completion that is repeated is looked for."""

LIST_FIRST_ROWS = 2
LIST_GROWTH = 4
LIST_MAX_ROWS = 1024
"""Rows that a listing reads at first and after each common prefix, by how much more each time,
and at most: what lies behind a row may be folded away, or beyond the prefix."""

COMPACT_BYTES = 1 * MIB
COMPACT_RECORDS = 256
"""The most that compaction moves in one commit."""

PREPARE_ATTEMPTS = 8
"""How often an operation is prepared anew, where what it depends on changes before its commit."""

COPY_ATTEMPTS = 8
"""How often a source is looked at that is overwritten while it is copied.  At the last time a
part's bytes are written again instead of shared, and a copy is refused."""

APPENDS_KEPT = 1024
"""Objects that were appended to last, of which the digest over their parts is kept: a few
hundred bytes each.  Of others, the ETags of all parts are read."""

CHECKPOINT_ATTEMPTS = 5
"""How often an image of the index is begun that a commit came in the way of."""

CHECKPOINTS_KEPT = 2
CHECKPOINT_PIECE_BYTES = 1 * MIB
"""Images of the index that are kept; bytes of one that are copied at a time."""

CHECK_SHOWN_ROWS = 20
"""Rows that `check` names before it only counts them."""

# The key service.

MAX_KEYS = 10_000
MAX_ALIASES = 10_000
MAX_KEY_VERSIONS = 1000
MAX_KEY_FILE_BYTES = 64 * MIB
"""Keys, their names, and generations of one key's material; what they may take in all."""

MAX_KMS_BODY_BYTES = 256 * KIB
"""Of a request to the KMS API; its longest member, a policy, has 128 KiB."""

# The HTTP front: a connection's buffers.

MAX_FORM_FIELD_BYTES = 20 * KIB
"""Of a browser's form before its file, as in S3."""

MAX_CORS_RULES = 100
"""Of a bucket, as in S3."""

MAX_ROUTING_RULES = 50
"""Of a bucket's website, as in S3."""

MAX_CORS_AGE_S = 2**31 - 1

MAX_NOTIFICATION_RULES = 100
"""Of a bucket, as in S3."""

# Access logs of buckets.

ACCESS_LOG_TURN_NS = 1_000_000_000
"""How often the lines of access logs go to a file, and after how long at most every process of
a store knows of a bucket that wants them: a kill loses so much."""

ACCESS_LOG_MAX_PATIENCE_NS = 300 * 10**9
"""How long at most a bucket is left in peace that refuses them, twice as long each time."""

ACCESS_LOG_INTERVAL_S = 60
"""How long lines gather for an object, unless the server is told otherwise."""

ACCESS_LOG_OBJECT_BYTES = 16 * MIB
ACCESS_LOG_WAITING_ENTRIES = 100_000
ACCESS_LOG_WAITING_BYTES = 256 * MIB
"""At which size lines become an object earlier; how many wait for a file, and how many bytes of
them for a bucket that takes none. What is beyond is dropped, and counted in the log."""

# Delivery of events.

MAX_DESTINATIONS = 64
EVENTS_A_MESSAGE = 64
EVENTS_A_PAGE = 512
"""Destinations of a server; events in one message to one of them, and read ahead of it."""

EVENT_POLL_NS = 50_000_000
EVENT_GATHER_NS = 20_000_000
EVENT_SETTLE_NS = 200_000_000
"""How often an empty queue is looked at; how long events gather for the next message, where no
more than one was full of them; and after how long at most what was delivered is noted: after a
kill, so much is delivered again."""

EVENT_FIRST_RETRY_NS = 500_000_000
EVENT_MAX_RETRY_NS = 300 * 10**9
EVENT_ATTEMPTS = 24
EVENT_REFUSALS = 4
EVENT_MAX_AGE_MS = 24 * 3600 * 1000
"""Wait after the first attempt that failed, and at most; it doubles in between.  How many
failures (an hour and a half), or answers that say the message is wrong, and how old an event
may be, before it becomes a dead letter."""

EVENT_TIMEOUT_S = 10.0
MAX_EVENT_ANSWER_BYTES = 64 * KIB
MAX_DEAD_LETTER_BYTES = 1 * GIB
"""Of one destination's file; when it is full, its events wait in the outbox instead."""

EVENT_LEADER_POLL_NS = 1_000_000_000
"""How often a worker looks whether nobody delivers any more."""

MAX_CLIENT_TOKEN_CHARS = 64
"""Of RenameObject's x-amz-client-token."""

UNPARSED_BODY_BYTES = 64 * KIB
"""Bodies of known length above this bypass the parser."""

EARLY_BODY_BYTES = 64 * KIB
"""What is taken in of a body before the application asks for it."""

BODY_BUFFER_BYTES = 1 * MIB
"""What is taken in ahead of the application once it reads."""

COALESCE_BYTES = 16 * KIB
"""Pieces of a body smaller than this are joined before the application gets them."""

JOIN_BYTES = 64 * KIB
"""Up to this size, copying a body behind its head is cheaper than a second buffer."""

# The HTTP front: mutations that the event loop commits together.

SLOW_COMMIT_NS = 2_000_000
LONG_COMMIT_NS = 50_000_000
"""Where commits take longer than the former on average, or one takes longer than the latter,
the event loop leaves them to the committer's thread for a while."""

SLOW_PAUSE_NS = 1_000_000_000
MAX_SLOW_PAUSE_NS = 64 * 10**9
"""How long, at first and at most; it doubles each time that the commit after it is slow too."""

GATHER_TURNS = 4
CONTENDED_TURNS = 24
"""Turns of the event loop that a commit waits at most while each of them brings more, and
while somebody else is writing a batch, which it would have to wait for anyway.  A turn costs
microseconds, a batch of its own a durable write."""

# The parent of several worker processes.

ACCEPT_BATCH = 64
"""Connections that are accepted before anything else is looked at."""

FIRST_BACKOFF_NS = 100_000_000
MAX_BACKOFF_NS = 10 * 10**9
STABLE_NS = 10 * 10**9
"""Wait before a worker that died is started again, at first and at most; one that lived this
long has earned an immediate restart."""

KILL_AFTER_NS = 5 * 10**9
"""On top of the grace that workers give their requests."""

ALONE_NS = 10**9
"""Within which the parent of a worker that was told to stop hears of it too, where all are."""

PAUSE_S = 0.02
DEAL_TRIES = 50
"""Wait before trying again after running out of descriptors or of room in the workers; how
often, before a connection is dropped."""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Bounds of the engine.

    `device_bytes`: size of the sparse file made for a new store; 8 TiB stays
        under ext4's limit of 16 TiB a file.  An existing store keeps its own.
    `segment_bytes`: unit of allocation, fixed when a store is made.
    `log_inline_bytes`: objects up to this size travel in the log.
    `batch_bytes`, `batch_ops`: the most that one commit gathers.
    `queue_ops`: writers that may wait for a commit before the next is refused.
    `checksum_chunk_bytes`: unit of the checksums over large objects (format).
    `zero_ahead_bytes`: how far ahead of the log's end space is written with zeroes, since
        a durable append into written space costs half of one into a hole.
    `io_bytes`: size of one streaming read or write.
    `md5_queue_blocks`: blocks of a stream that may be written and not yet in its MD5.
    `checkpoint_log_bytes`: log growth after which a checkpoint is due, if that
        is also more than the index itself.
    `checkpoint_bytes_per_s`: throttle of a checkpoint's copy.
    `compact_live_ratio`: a segment with less than this share alive is rewritten.
    `tombstone_log_ratio`: share of the log that tombstones may hold before the
        oldest segment is rewritten to let them go.
    `reserve_bytes`: space of the backing file system that only deletes may use.
    `index_map_bytes`: LMDB's address space, from the start.
    """

    device_bytes: int = 8 * TIB
    segment_bytes: int = 64 * MIB
    log_inline_bytes: int = 128 * KIB
    batch_bytes: int = 4 * MIB
    batch_ops: int = 256
    queue_ops: int = 4096
    zero_ahead_bytes: int = 256 * KIB
    io_bytes: int = 1 * MIB
    md5_queue_blocks: int = 4
    checksum_chunk_bytes: int = 64 * KIB
    checkpoint_log_bytes: int = 256 * MIB
    checkpoint_bytes_per_s: int = 200 * 10**6
    compact_live_ratio: float = 0.5
    tombstone_log_ratio: float = 0.1
    maintenance_interval_s: float = 1.0
    reserve_bytes: int = 64 * MIB
    index_map_bytes: int = 1 * TIB
    index_max_readers: int = 2048
    min_part_bytes: int = MIN_PART_BYTES


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Bounds of the HTTP front.

    `header_timeout_s`: from the first byte of a request to the end of its headers.
    `body_stall_timeout_s`: without a byte of a body moving, in either direction.
    `idle_timeout_s`: between two requests of a connection, and before its first.
    `upload_buffer_bytes`: of one upload, received and not yet written and hashed;
        `uploads_buffer_bytes`: the same of all uploads in a process, above which each has
        its least, see `max_streams`;
        `spare_blocks_bytes`: of their buffers, kept for the next ones.
    `max_streams`: large bodies under way in a process, in either direction.  The next one
        is told to slow down.  Each may hold two blocks of `StoreConfig.io_bytes` whatever
        the others hold: on the way in one that is filled from the socket, and one that
        aws-chunked frames are gathered in; on the way out one that is sent and the next.
    `upload_threads`, `request_threads`: of one process, for bodies over
        `StoreConfig.log_inline_bytes` and for all other blocking calls.
    `list_threads`: the same for listings.  They let the interpreter go at every row, and
        several at a time take it from each other (docs/design/0003-http-front.md).
    `region_threads`, `max_region_calls`, `max_block_body_bytes`: of the EC2 and EBS faces:
        threads of a process, requests that hold a thread or wait for one, and the longest
        body of the EBS direct APIs, which is a block.
    `max_region_bodies`, `region_body_grace_s`: bodies for them that are being read or wait
        for one of those calls to end, and how long one may take while others wait.
    `commits_on_loop`: whether the event loop may commit small mutations itself, which is
        faster on a device that is; off for one that is known to make its callers wait.
    `drain_bytes`: a refused request's body up to this is read and dropped, so that
        the connection can go on; a larger one costs the client the connection.
    `max_pipelined`: requests of one connection that may wait behind the one being served.
    `shutdown_grace_s`: what runs has so long to finish when the server stops.
    `drain_s`: upon SIGTERM it goes on serving for so long, while it tells load balancers that
        it is not ready.
    `linger_bytes`, `linger_timeout_s`: what is still read from a client after the
        last response to it, so that it sees the response and not a reset.
    """

    max_header_bytes: int = 32 * KIB
    max_header_lines: int = 200
    header_timeout_s: float = 30.0
    body_stall_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    max_connections: int = 10_000
    max_pipelined: int = 64
    max_xml_body_bytes: int = 2 * MIB
    max_target_bytes: int = 16 * KIB
    clock_skew_s: int = 15 * 60
    upload_buffer_bytes: int = 8 * MIB
    uploads_buffer_bytes: int = 64 * MIB
    spare_blocks_bytes: int = 32 * MIB
    max_streams: int = 512
    upload_threads: int = 8
    request_threads: int = 32
    region_threads: int = 8
    max_region_calls: int = 128
    max_region_bodies: int = 128
    region_body_grace_s: float = 1.0
    max_block_body_bytes: int = 512 * KIB
    list_threads: int = 1
    commits_on_loop: bool = True
    drain_bytes: int = 64 * KIB
    linger_bytes: int = 64 * MIB
    linger_timeout_s: float = 5.0
    shutdown_grace_s: float = 30.0
    drain_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Bounds of the aws-chunked framing.

    `least_chunk_bytes`: of every chunk but the last; S3's is 8 KiB.
    `header_bytes`: length of a chunk's header line (16 hex digits and the signature: 97).
    `trailer_bytes`, `trailers`: size and number of all trailers together.
    """

    least_chunk_bytes: int = 8 * KIB
    header_bytes: int = 128
    trailer_bytes: int = 4 * KIB
    trailers: int = 16
