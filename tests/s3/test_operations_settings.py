"""Who pays, acceleration, ownership: what is stored is told, what is not offered is refused."""

from __future__ import annotations

import pytest

from tests.s3.harness import S3, Reply, backend

__all__ = ["backend"]


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    server("PUT", "/dotted.bucket")
    return server


def put(s3: S3, query: str, root: str, inner: str, bucket: str = "bucket") -> Reply:
    return s3("PUT", f"/{bucket}", f"<{root}>{inner}</{root}>".encode(), query=query)


def test_who_pays(s3: S3) -> None:
    def payer() -> str | None:
        return s3("GET", "/bucket", query="requestPayment").text("Payer")

    assert payer() == "BucketOwner"
    for wanted in ("Requester", "BucketOwner"):
        inner = f"<Payer>{wanted}</Payer>"
        assert put(s3, "requestPayment", "RequestPaymentConfiguration", inner).status == 200
        assert payer() == wanted
        assert s3("PUT", "/bucket/key", b"the owner's own").status == 200
    assert s3.store.list("bucket").entries


def test_acceleration(s3: S3) -> None:
    def put_status(status: str, bucket: str = "bucket") -> Reply:
        inner = f"<Status>{status}</Status>"
        return put(s3, "accelerate", "AccelerateConfiguration", inner, bucket)

    assert s3("GET", "/bucket", query="accelerate").text("Status") is None
    refused = put_status("Enabled")
    assert (refused.status, refused.code) == (501, "NotImplemented")
    assert s3("GET", "/bucket", query="accelerate").text("Status") is None
    assert put_status("Suspended").status == 200
    assert s3("GET", "/bucket", query="accelerate").text("Status") == "Suspended"
    assert put_status("Suspended", "dotted.bucket").code == "InvalidRequest"


def test_ownership(s3: S3) -> None:
    def put_owner(owner: str) -> Reply:
        inner = f"<Rule><ObjectOwnership>{owner}</ObjectOwnership></Rule>"
        return put(s3, "ownershipControls", "OwnershipControls", inner)

    path = "Rule/ObjectOwnership"
    assert put_owner("BucketOwnerEnforced").status == 200
    for other in ("ObjectWriter", "BucketOwnerPreferred"):
        assert (put_owner(other).status, put_owner(other).code) == (501, "NotImplemented")
    shown = s3("GET", "/bucket", query="ownershipControls")
    assert shown.text(path) == "BucketOwnerEnforced"
    assert s3("DELETE", "/bucket", query="ownershipControls").status == 501
