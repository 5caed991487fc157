"""Bounds of a region: EC2's quotas where it has them, and what keeps this program bounded."""

from __future__ import annotations

from typing import Final

from blockdev.volume import DAY_NS

MAX_VOLUMES: Final = 10_000
"""Ours; EC2 bounds the sum of sizes by type instead."""

MAX_SNAPSHOTS: Final = 100_000
"""Amazon EBS quotas, "Snapshots per Region"."""

MAX_INSTANCES: Final = 1_000
"""Ours; EC2 bounds the number of virtual CPUs."""

MAX_INSTANCES_A_CALL: Final = 100
"""Ours, for one RunInstances."""

MAX_TAGS: Final = 50
"""Amazon EC2 user guide, "Tag restrictions": tags per resource."""

MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
"""Unicode characters; the same page."""

MAX_DESCRIPTION: Final = 255
"""Characters of a snapshot's description."""

MAX_CLIENT_TOKEN: Final = 64
"""ASCII characters of a client token (EC2 developer guide, "Ensuring idempotency")."""

TOKEN_KEPT_NS: Final = DAY_NS
"""How long a client token is remembered."""

MAX_FAST_RESTORES: Final = 5
"""Amazon EBS quotas, "Fast snapshot restore": snapshots enabled in a Region."""

MAX_SHARES: Final = 1_000
"""Accounts that one snapshot may be shared with; ours."""

MAX_SHARE_CHANGES: Final = 500
"""ModifySnapshotAttribute [B]: "up to 500 modifications … in a single operation"."""

MAX_COPIES: Final = 20
"""Amazon EBS quotas, "Concurrent snapshot copies per destination Region"; here of a process."""
