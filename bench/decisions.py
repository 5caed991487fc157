"""What a decision costs: `python -m bench.decisions`.

Each situation is decided many times over, the best of several rounds; the ratio is to the
plainest of them in the same run.  The target is 10 µs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from objstore.auth.evaluator import Policies, Who, decide
from objstore.auth.policy import Policy, Request, parse_bucket_policy, parse_identity_policy

ARN: Final = "arn:aws:iam::000000000000:user/ann"
BUCKET: Final = "arn:aws:s3:::bucket"
ROUNDS: Final = 7
TIMES: Final = 5000


def statement(action: Any, resource: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """A statement of a policy."""
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def identity(*statements: Mapping[str, Any]) -> Policy:
    """A policy of a user."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return parse_identity_policy(json.dumps(document).encode())


def bucket(*statements: Mapping[str, Any]) -> Policy:
    """A policy of a bucket."""
    listed = [{"Principal": "*", **each} for each in statements]
    document = {"Version": "2012-10-17", "Statement": listed}
    return parse_bucket_policy(json.dumps(document).encode(), "bucket")


PLAIN: Final = identity(statement(["s3:GetObject", "s3:PutObject"], f"{BUCKET}/*"))
HOME: Final = identity(
    statement(["s3:Get*", "s3:List*"], "*"),
    statement("s3:*", f"{BUCKET}/home/${{aws:username}}/*"),
    statement("s3:DeleteObject*", "*", "Deny"),
)
SECURE: Final = bucket(
    statement(
        "s3:*",
        [BUCKET, f"{BUCKET}/*"],
        "Deny",
        Condition={"Bool": {"aws:SecureTransport": "false"}},
    ),
    statement("s3:GetObject", f"{BUCKET}/*", Principal={"AWS": ARN}),
)
MANY: Final = identity(
    *(statement(f"s3:*Object{n}", f"{BUCKET}/{n}/*/x?z") for n in range(30)),
    statement("s3:*", f"{BUCKET}/home/*"),
)
SITUATIONS: Final = {
    "one policy": Policies([PLAIN]),
    "with the bucket's": Policies([PLAIN], SECURE),
    "wildcards and variables": Policies([HOME], SECURE),
    "boundary and session": Policies([HOME], SECURE, PLAIN, HOME),
    "thirty statements": Policies([MANY], SECURE),
}


def measure(policies: Policies) -> float:
    """Microseconds that a decision takes, at best."""
    context = {"aws:securetransport": "true", "aws:username": "ann"}
    names = frozenset((f"AWS:{ARN}",))
    request = Request("s3:GetObject", f"{BUCKET}/home/ann/letter", names, context)
    best_s = float("inf")
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        for _ in range(TIMES):
            decide(request, Who.MEMBER, policies)
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s / TIMES * 1e6


def main() -> None:
    """Print a line for each situation."""
    first_us = 0.0
    for name, policies in SITUATIONS.items():
        taken_us = measure(policies)
        first_us = first_us or taken_us
        print(f"{name:24} {taken_us:6.2f} µs {taken_us / first_us:6.2f}×")


if __name__ == "__main__":
    main()
