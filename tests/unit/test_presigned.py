"""Presigned URLs: made, used, and refused."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest

from objstore.auth import AuthError, Credentials, PayloadKind, presign
from objstore.config import MAX_PRESIGN_S
from objstore.s3 import digests
from objstore.s3.http import Request
from tests.unit.sigv4_helpers import ALICE, EMPTY_SHA256, NOW_S, TEMPORARY, Parts, authenticator

HOST = "localhost:9000"


def request_for(url: str, method: str = "GET", **headers: str) -> Parts:
    parts = urlsplit(url)
    sent = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = tuple((name.encode(), value.encode()) for name, value in sent.items())
    return Parts(method, parts.path.encode(), parts.query.encode(), pairs)


def made(
    path: str = "/bucket/key",
    method: str = "GET",
    credentials: Credentials = ALICE,
    expires_s: int = 600,
    region: str = "us-east-1",
    service: str = "s3",
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    return presign(
        credentials,
        method,
        f"http://{HOST}",
        path,
        region=region,
        service=service,
        time_s=NOW_S,
        expires_s=expires_s,
        query=query,
        headers=headers,
    )


def refused(parts: Parts, time_s: int = NOW_S) -> AuthError:
    with pytest.raises(AuthError) as caught:
        parts.authenticate(authenticator(time_s))
    return caught.value


class TestUse:
    def test_a_url_opens_what_it_was_made_for(self) -> None:
        result = request_for(made()).authenticate()
        assert result.identity is ALICE.identity
        assert result.presigned
        assert result.payload is PayloadKind.UNSIGNED
        assert result.content_sha256 == b"UNSIGNED-PAYLOAD"
        assert result.chunk_signing is None

    @pytest.mark.parametrize("key", ["a b+c&d=e?f#g%h", "ümläut/日本", "..//x", "~'()*!"])
    def test_keys_of_any_kind(self, key: str) -> None:
        url = made(f"/bucket/{key}", query={"response-content-type": "text/plain; a=b"})
        assert request_for(url).authenticate().presigned

    def test_and_nothing_else(self) -> None:
        url = made(query={"versionId": "1"})
        good = request_for(url)
        for other in (
            request_for(url, "PUT"),
            request_for(url.replace("/key", "/kez")),
            request_for(url.replace("versionId=1", "versionId=2")),
            request_for(url + "&acl"),
            request_for(url.replace("Expires=600", "Expires=601")),
            request_for(url, host="example.com"),
            replace(good, query=good.query[:-1] + (b"0" if good.query[-1:] != b"0" else b"1")),
        ):
            assert refused(other).code == "SignatureDoesNotMatch"

    def test_signed_headers_have_to_come_as_signed(self) -> None:
        url = made(method="PUT", headers={"Content-Type": "text/plain", "x-amz-acl": "private"})
        sent = {"content_type": "text/plain", "x_amz_acl": "private"}
        assert request_for(url, "PUT", **sent).authenticate().presigned
        assert refused(request_for(url, "PUT")).code == "SignatureDoesNotMatch"
        changed = sent | {"x_amz_acl": "public-read"}
        assert refused(request_for(url, "PUT", **changed)).code == "SignatureDoesNotMatch"

    def test_further_x_amz_headers_are_refused(self) -> None:
        error = refused(request_for(made(), x_amz_meta_a="1"))
        assert error.code == "AccessDenied"
        assert dict(error.details) == {"HeadersNotSigned": "x-amz-meta-a"}

    def test_a_host_is_needed(self) -> None:
        error = refused(replace(request_for(made()), headers=()))
        assert error.code == "SignatureDoesNotMatch"
        assert "host:" not in dict(error.details)["CanonicalRequest"]

    def test_user_information_in_the_endpoint_is_not_the_host(self) -> None:
        url = presign(ALICE, "GET", f"http://u:p@{HOST}", "/b", region="us-east-1", time_s=NOW_S)
        assert request_for(url).authenticate().presigned


class TestPayload:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (EMPTY_SHA256.decode(), PayloadKind.SHA256),
            ("UNSIGNED-PAYLOAD", PayloadKind.UNSIGNED),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadKind.STREAMING_SIGNED),
        ],
    )
    def test_it_can_be_fixed_by_a_parameter_or_a_header(
        self, value: str, kind: PayloadKind
    ) -> None:
        by_parameter = request_for(made(query={"X-Amz-Content-Sha256": value}))
        url = made(headers={"x-amz-content-sha256": value})
        by_header = request_for(url, x_amz_content_sha256=value)
        for parts in (by_parameter, by_header):
            result = parts.authenticate()
            assert result.payload is kind
            assert result.content_sha256 == value.encode()
            assert (result.chunk_signing is not None) == kind.chunk_signed
        other = request_for(url, x_amz_content_sha256="f" * 64)
        assert refused(other).code == "SignatureDoesNotMatch"

    def test_a_digest_in_the_url_is_demanded_of_the_body(self) -> None:
        parts = request_for(made(query={"X-Amz-Content-Sha256": EMPTY_SHA256.decode()}))
        request = Request(parts.method, parts.path, parts.query, list(parts.headers))
        request.auth = parts.authenticate()
        found = digests.for_body(request)
        assert found.payload_sha256 == bytes.fromhex(EMPTY_SHA256.decode())
        assert "SHA256" in found.algorithms

    def test_a_parameter_outranks_a_header(self) -> None:
        url = made(
            query={"X-Amz-Content-Sha256": EMPTY_SHA256.decode()},
            headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
        )
        parts = request_for(url, x_amz_content_sha256="UNSIGNED-PAYLOAD")
        assert parts.authenticate().content_sha256 == EMPTY_SHA256

    def test_nonsense(self) -> None:
        url = made(query={"X-Amz-Content-Sha256": "x"})
        assert refused(request_for(url)).code == "InvalidArgument"


class TestTime:
    @pytest.mark.parametrize("off_s", [-900, 0, 600])
    def test_within_its_time(self, off_s: int) -> None:
        assert request_for(made()).authenticate(authenticator(NOW_S + off_s)).presigned

    def test_a_week_at_most(self) -> None:
        url = made(expires_s=MAX_PRESIGN_S)
        assert request_for(url).authenticate(authenticator(NOW_S + MAX_PRESIGN_S)).presigned

    def test_too_late(self) -> None:
        error = refused(request_for(made()), NOW_S + 601)
        assert error.code == "AccessDenied"
        assert error.message == "Request has expired"
        assert dict(error.details) == {
            "X-Amz-Expires": "600",
            "Expires": "2023-11-14T22:23:20Z",
            "ServerTime": "2023-11-14T22:23:21Z",
        }

    def test_too_early(self) -> None:
        error = refused(request_for(made()), NOW_S - 901)
        assert error.code == "AccessDenied"
        assert error.message == "Request is not valid yet"


class TestForm:
    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("X-Amz-Expires=600", "X-Amz-Expires=0", "at least 1"),
            ("X-Amz-Expires=600", "X-Amz-Expires=-1", "non-negative"),
            ("X-Amz-Expires=600", "X-Amz-Expires=604801", "less than a week"),
            ("X-Amz-Expires=600", "X-Amz-Expires=" + "9" * 5000, "less than a week"),
            ("X-Amz-Expires=600", "X-Amz-Expires=", "should be a number"),
            ("X-Amz-Expires=600", "X-Amz-Expires=1e3", "should be a number"),
            ("X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Expires=600", "more than once"),
            ("X-Amz-Expires=600&", "", "requires the X-Amz-Algorithm"),
            ("X-Amz-SignedHeaders=host&", "", "requires the X-Amz-Algorithm"),
            ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", "lower-case"),
            ("X-Amz-Date=2023", "X-Amz-Date=23", "ISO8601"),
            ("HMAC-SHA256", "HMAC-SHA1", "only supports"),
            ("%2Faws4_request", "", "mal-formed"),
            ("%2Fs3%2F", "%2Fsqs%2F", "incorrect service"),
            ("us-east-1", "us-east-2", "expecting 'us-east-1'"),
            ("%2F20231114%2F", "%2F20231115%2F", "Invalid credential date"),
        ],
    )
    def test_malformed(self, old: str, new: str, words: str) -> None:
        url = made()
        assert old in url
        error = refused(request_for(url.replace(old, new)))
        assert error.code == "AuthorizationQueryParametersError"
        assert words in error.message

    def test_the_right_region_is_told(self) -> None:
        error = refused(request_for(made(region="eu-west-1")))
        assert dict(error.details) == {"Region": "us-east-1"}

    def test_no_signature(self) -> None:
        url = made()
        error = refused(request_for(url[: url.index("&X-Amz-Signature")]))
        assert error.code == "AuthorizationQueryParametersError"

    def test_other_schemes(self) -> None:
        error = refused(request_for(made().replace("HMAC", "ECDSA-P256")))
        assert error.code == "NotImplemented"
        for query in ("AWSAccessKeyId=a&Signature=b&Expires=1", "Signature=b"):
            error = refused(request_for(f"http://{HOST}/b/k?{query}"))
            assert error.code == "InvalidRequest"
            assert "AWS4-HMAC-SHA256" in error.message

    def test_an_unknown_key(self) -> None:
        error = refused(request_for(made(credentials=replace(ALICE, access_key="who"))))
        assert error.code == "InvalidAccessKeyId"

    def test_the_parameters_may_be_escaped_otherwise(self) -> None:
        url = (
            made()
            .replace("%2F", "/")
            .replace("X-Amz-Date", quote("X-Amz-Date").replace("-", "%2d"))
        )
        assert request_for(url).authenticate().presigned


class TestTemporaryCredentials:
    def test_the_token_travels_in_the_url(self) -> None:
        url = made(credentials=TEMPORARY)
        assert "X-Amz-Security-Token=token%2Fof%2Btemp%3D%3D" in url
        assert request_for(url).authenticate().identity is TEMPORARY.identity

    def test_without_it(self) -> None:
        url = made(credentials=replace(TEMPORARY, session_token=""))
        assert refused(request_for(url)).code == "InvalidToken"

    def test_after_their_end(self) -> None:
        url = made(credentials=TEMPORARY)
        assert refused(request_for(url), NOW_S + 61).code == "ExpiredToken"


@pytest.mark.parametrize("expires_s", [0, -1, MAX_PRESIGN_S + 1])
def test_a_lifetime_out_of_range(expires_s: int) -> None:
    with pytest.raises(ValueError, match="604800"):
        made(expires_s=expires_s)


def test_an_endpoint_without_a_host() -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        presign(ALICE, "GET", "localhost", "/b", region="us-east-1", time_s=NOW_S)
