"""The tables of the control plane.  Times are nanoseconds since the Unix epoch (UTC).

A row holds the moments at which its states pass (see `blockdev.volume`), never a state
that somebody would have to move on.  The state and progress of a snapshot are in the tables
of `blockdev.snapshot`; what is here is what a caller said of it.  `lineage` is the same for
all that descend from one volume or snapshot: what ListChangedBlocks may compare.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Kept in ``PRAGMA user_version``; a region of another format is refused."""

SCHEMA: Final = """
CREATE TABLE region (
    name TEXT NOT NULL,
    account_id TEXT NOT NULL
);
CREATE TABLE volumes (
    volume_id TEXT PRIMARY KEY,
    zone TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    available_ns INTEGER NOT NULL,
    deleted_ns INTEGER,
    failure TEXT NOT NULL DEFAULT '',
    volume_type TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    iops INTEGER,
    throughput_mibps INTEGER,
    snapshot_id TEXT NOT NULL,
    encrypted INTEGER NOT NULL,
    kms_key_id TEXT NOT NULL,
    multi_attach INTEGER NOT NULL,
    fast_restored INTEGER NOT NULL,
    initialization_mibps INTEGER,
    lineage TEXT NOT NULL,
    files_made INTEGER NOT NULL DEFAULT 0,
    credits REAL,
    credits_ns INTEGER
) STRICT;
CREATE TABLE attachments (
    volume_id TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
    instance_id TEXT NOT NULL REFERENCES instances ON DELETE CASCADE,
    device TEXT NOT NULL,
    requested_ns INTEGER NOT NULL,
    attached_ns INTEGER NOT NULL,
    detached_ns INTEGER,
    delete_on_termination INTEGER NOT NULL,
    PRIMARY KEY (volume_id, instance_id)
) STRICT;
CREATE INDEX attachments_by_instance ON attachments (instance_id);
CREATE TABLE modifications (
    modification_id INTEGER PRIMARY KEY AUTOINCREMENT,
    volume_id TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
    started_ns INTEGER NOT NULL,
    optimizing_ns INTEGER NOT NULL,
    completed_ns INTEGER NOT NULL,
    original_type TEXT NOT NULL,
    original_size_gib INTEGER NOT NULL,
    original_iops INTEGER,
    original_throughput_mibps INTEGER,
    original_multi_attach INTEGER NOT NULL,
    target_type TEXT NOT NULL,
    target_size_gib INTEGER NOT NULL,
    target_iops INTEGER,
    target_throughput_mibps INTEGER,
    target_multi_attach INTEGER NOT NULL
) STRICT;
CREATE INDEX modifications_by_volume ON modifications (volume_id, modification_id);
CREATE TABLE instances (
    instance_id TEXT PRIMARY KEY,
    instance_type TEXT NOT NULL,
    image_id TEXT NOT NULL,
    zone TEXT NOT NULL,
    launched_ns INTEGER NOT NULL,
    launch_index INTEGER NOT NULL,
    reservation_id TEXT NOT NULL,
    root_device TEXT NOT NULL,
    target TEXT NOT NULL CHECK (target IN ('running', 'stopped', 'terminated')),
    reached_ns INTEGER NOT NULL,
    state_reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE instance_disks (
    instance_id TEXT NOT NULL REFERENCES instances ON DELETE CASCADE,
    disk_index INTEGER NOT NULL,
    device TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (instance_id, disk_index)
) STRICT;
CREATE TABLE snapshots (
    snapshot_id TEXT PRIMARY KEY,
    volume_id TEXT NOT NULL,
    volume_size_gib INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('volume', 'copy', 'direct')),
    lineage TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    start_index INTEGER NOT NULL DEFAULT 0,
    completed_ns INTEGER,
    owner_id TEXT NOT NULL,
    description TEXT NOT NULL,
    encrypted INTEGER NOT NULL,
    kms_key_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    is_public INTEGER NOT NULL DEFAULT 0,
    tier TEXT NOT NULL DEFAULT 'standard' CHECK (tier IN ('standard', 'archive')),
    tier_start_ns INTEGER,
    tiered_ns INTEGER,
    restore_start_ns INTEGER,
    restored_ns INTEGER,
    restore_expires_ns INTEGER,
    timeout_ns INTEGER,
    last_put_ns INTEGER,
    worker TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX snapshots_by_volume ON snapshots (volume_id);
CREATE TABLE snapshot_shares (
    snapshot_id TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    account_id TEXT NOT NULL,
    PRIMARY KEY (snapshot_id, account_id)
) STRICT;
CREATE TABLE direct_blocks (
    snapshot_id TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    block_index INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (snapshot_id, block_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE fast_restores (
    snapshot_id TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    zone TEXT NOT NULL,
    requested_ns INTEGER NOT NULL,
    enabled_ns INTEGER NOT NULL,
    credits REAL NOT NULL,
    credits_ns INTEGER NOT NULL,
    PRIMARY KEY (snapshot_id, zone)
) STRICT;
CREATE TABLE tags (
    resource_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource_id, key)
) STRICT;
CREATE TABLE tokens (
    verb TEXT NOT NULL,
    token TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    resource_ids TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (verb, token)
) STRICT;
CREATE TABLE opens (
    open_id TEXT PRIMARY KEY,
    volume_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    owner TEXT NOT NULL
) STRICT;
CREATE INDEX opens_by_volume ON opens (volume_id);
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_ns INTEGER NOT NULL
) STRICT;
"""
