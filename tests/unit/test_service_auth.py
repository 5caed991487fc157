"""Signatures of requests to EC2 and EBS, as botocore makes them and as others spoil them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from blockdev.clock import ManualClock
from objstore.auth import errors
from objstore.auth.service import ServiceAuthenticator, Signer, claimed_service
from tests.unit.service_requests import IDENTITY, KEYS, Signed, sign


def authenticate(
    clock: ManualClock, signed: Signed, service: str = "ec2", *, unsigned_body: bool = False
) -> Signer:
    return ServiceAuthenticator(KEYS, clock, service=service).authenticate(
        signed.method,
        signed.path,
        signed.query,
        signed.headers,
        signed.body,
        unsigned_body=unsigned_body,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_form_signed_in_the_header(clock: ManualClock) -> None:
    signer = authenticate(clock, sign(clock))
    assert (signer.identity, signer.region) == (IDENTITY, "eu-west-1")


@pytest.mark.parametrize("region", ["us-east-1", "mars-north-1"])
def test_any_region_will_do_and_is_told(clock: ManualClock, region: str) -> None:
    assert authenticate(clock, sign(clock, region=region)).region == region


def test_an_action_in_the_query_signed_in_the_header(clock: ManualClock) -> None:
    path = "/?Action=DescribeVolumes&VolumeId.1=vol-1&Filter.1.Name=a%20b"
    assert authenticate(clock, sign(clock, method="GET", path=path, body=b""))


def test_a_presigned_url(clock: ManualClock) -> None:
    signed = sign(clock, method="GET", path="/?Action=DescribeRegions", body=b"", query=True)
    assert b"X-Amz-Signature" in signed.query
    assert authenticate(clock, signed)
    clock.advance(3601 * 10**9)
    with pytest.raises(errors.RequestExpiredError):
        authenticate(clock, signed)


@pytest.mark.parametrize(
    "path",
    ["/snapshots/snap-1/blocks/0", "/snapshots/a%20b/blocks/0", "/snapshots/%2e%2e/%C3%A4"],
)
def test_paths_are_escaped_twice(clock: ManualClock, path: str) -> None:
    signed = sign(clock, method="GET", path=path, body=b"", service="ebs")
    assert authenticate(clock, signed, "ebs")


def test_a_block_may_be_left_out_of_the_signature(clock: ManualClock) -> None:
    """As botocore does over https (``v4-unsigned-body``), with and without the header."""
    signed = sign(clock, method="PUT", service="ebs", unsigned=True)
    assert authenticate(clock, signed, "ebs", unsigned_body=True)
    with pytest.raises(errors.ContentSHA256MismatchError):
        authenticate(clock, signed, "ebs")
    other = replace(sign(clock, method="PUT", service="ebs"), body=b"another")
    with pytest.raises(errors.SignatureDoesNotMatchError):
        authenticate(clock, other, "ebs", unsigned_body=True)


def test_temporary_credentials(clock: ManualClock) -> None:
    assert authenticate(clock, sign(clock, key=("ASIA", "temporary", "token")))
    for key in (("ASIA", "temporary", "other"), ("AKID", "secret/+key", "token")):
        with pytest.raises(errors.InvalidTokenError):
            authenticate(clock, sign(clock, key=key))
    with pytest.raises(errors.ExpiredTokenError):
        authenticate(clock, sign(clock, key=("GONE", "expired", "token")))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"body": b"Action=DeleteVolume"}, errors.SignatureDoesNotMatchError),
        ({"path": b"/other"}, errors.SignatureDoesNotMatchError),
        ({"query": b"Action=DeleteVolume"}, errors.SignatureDoesNotMatchError),
        ({"method": "PUT"}, errors.SignatureDoesNotMatchError),
    ],
)
def test_what_was_changed_on_the_way(
    clock: ManualClock, change: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        authenticate(clock, replace(sign(clock), **change))


def test_wrong_keys(clock: ManualClock) -> None:
    with pytest.raises(errors.InvalidAccessKeyIdError):
        authenticate(clock, sign(clock, key=("NOBODY", "secret", None)))
    with pytest.raises(errors.SignatureDoesNotMatchError):
        authenticate(clock, sign(clock, key=("AKID", "wrong", None)))


def test_a_signature_for_another_service(clock: ManualClock) -> None:
    with pytest.raises(errors.AuthorizationHeaderMalformedError):
        authenticate(clock, sign(clock, service="ebs"))
    with pytest.raises(errors.AuthorizationQueryParametersError):
        authenticate(clock, sign(clock, method="GET", body=b"", service="ebs", query=True))


def test_headers_that_are_not_signed(clock: ManualClock) -> None:
    signed = sign(clock).with_header(b"x-amz-checksum", b"forged")
    with pytest.raises(errors.HeadersNotSignedError):
        authenticate(clock, signed)


def test_a_digest_that_is_not_the_bodys(clock: ManualClock) -> None:
    signed = sign(clock, headers={"X-Amz-Content-SHA256": "0" * 64})
    with pytest.raises(errors.ContentSHA256MismatchError):
        authenticate(clock, signed)


@pytest.mark.parametrize("minutes", [16, 60 * 24])
def test_old_requests(clock: ManualClock, minutes: int) -> None:
    signed = sign(clock)
    clock.advance(minutes * 60 * 10**9)
    with pytest.raises(errors.RequestTimeTooSkewedError):
        authenticate(clock, signed)


def test_malformed_claims(clock: ManualClock) -> None:
    signed = sign(clock)
    with pytest.raises(errors.AccessDeniedError):
        authenticate(clock, signed.with_header(b"authorization", None))
    with pytest.raises(errors.MalformedRequestError):
        authenticate(clock, signed.with_header(b"x-amz-date", None))
    with pytest.raises(errors.MalformedRequestError):
        authenticate(clock, signed.with_header(b"x-amz-date", b"yesterday"))
    with pytest.raises(errors.MalformedRequestError):
        authenticate(clock, signed.with_header(b"authorization", b"AWS4-HMAC-SHA256 nothing"))
    both = replace(signed, query=b"X-Amz-Algorithm=AWS4-HMAC-SHA256")
    with pytest.raises(errors.InvalidAuthArgumentError):
        authenticate(clock, both)


def test_the_service_that_a_request_claims(clock: ManualClock) -> None:
    signed = sign(clock)
    assert claimed_service(signed.headers, b"") == b"ec2"
    presigned = sign(clock, method="GET", body=b"", service="ebs", query=True)
    assert claimed_service((), presigned.query) == b"ebs"
    assert claimed_service((), b"") == b""
    assert claimed_service((), b"X-Amz-Credential=nonsense") == b""
    assert claimed_service((), b"x=X-Amz-Credential=/ec2/aws4_request") == b""
    assert claimed_service([(b"authorization", b"Bearer ec2")], presigned.query) == b""


def test_a_body_whose_digest_is_announced_and_right(clock: ManualClock) -> None:
    signed = sign(clock)
    digest = hashlib.sha256(signed.body).hexdigest()
    announced = sign(clock, headers={"x-amz-content-sha256": digest})
    assert announced.header(b"x-amz-content-sha256") == digest.encode()
    assert authenticate(clock, announced).identity == IDENTITY
    with pytest.raises(errors.ContentSHA256MismatchError):
        authenticate(clock, replace(announced, body=announced.body + b"&More=1"))
