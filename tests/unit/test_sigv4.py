"""Signature Version 4 in the Authorization header: what is let in and what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from objstore.auth import (
    ANONYMOUS,
    Authenticator,
    AuthError,
    Credentials,
    Identity,
    PayloadKind,
    StaticKeyStore,
    errors,
)
from objstore.auth.canonical import (
    SignedHeaders,
    canonical_path,
    canonical_query,
    decode_query,
    merge_headers,
    uri_encode,
)
from objstore.auth.dates import iso_extended, parse_http_date, parse_iso_basic
from objstore.auth.keys import KeyStore
from objstore.auth.payload import classify, decoded_length, verify_sha256
from objstore.auth.sigv4 import parse_authorization
from tests.unit.sigv4_helpers import (
    ALICE,
    EMPTY_SHA256,
    NOW,
    NOW_S,
    TEMPORARY,
    Parts,
    authenticator,
    clock_at,
)


def refused(parts: Parts, by: Authenticator | None = None) -> AuthError:
    with pytest.raises(AuthError) as caught:
        parts.authenticate(by)
    return caught.value


def details(error: AuthError) -> dict[str, str]:
    return dict(error.details)


class TestWhoGetsIn:
    def test_a_signed_request(self) -> None:
        result = Parts().signed().authenticate()
        assert result.identity is ALICE.identity
        assert result.access_key == "AKIDALICE"
        assert result.payload is PayloadKind.SHA256
        assert result.content_sha256 == EMPTY_SHA256
        assert result.chunk_signing is None
        assert not result.is_anonymous
        assert not result.presigned

    def test_no_credentials_at_all_is_anonymous(self) -> None:
        result = Parts(headers=((b"host", b"h"),), query=b"prefix=a&list-type=2").authenticate()
        assert result.identity is ANONYMOUS
        assert result.is_anonymous
        assert result.payload is PayloadKind.UNSIGNED

    def test_an_anonymous_request_can_have_unsigned_chunks_but_no_signed_ones(self) -> None:
        anonymous = Parts(headers=((b"host", b"h"),))
        unsigned = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        result = anonymous.with_header(b"x-amz-content-sha256", unsigned).authenticate()
        assert result.payload is PayloadKind.STREAMING_UNSIGNED_TRAILER
        signed = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        error = refused(anonymous.with_header(b"x-amz-content-sha256", signed))
        assert error.code == "InvalidRequest"

    def test_an_unknown_access_key(self) -> None:
        stranger = replace(ALICE, access_key="AKIDNOBODY")
        error = refused(Parts().signed(stranger))
        assert error.code == "InvalidAccessKeyId"
        assert details(error) == {"AWSAccessKeyId": "AKIDNOBODY"}

    def test_a_wrong_secret_shows_what_was_signed_here(self) -> None:
        error = refused(Parts(query=b"b=2&a=1").signed(replace(ALICE, secret_key="other")))
        assert error.code == "SignatureDoesNotMatch"
        shown = details(error)
        assert list(shown) == [
            "AWSAccessKeyId",
            "StringToSign",
            "SignatureProvided",
            "StringToSignBytes",
            "CanonicalRequest",
            "CanonicalRequestBytes",
        ]
        assert shown["StringToSign"].startswith("AWS4-HMAC-SHA256\n20231114T221320Z\n20231114/us-")
        assert shown["CanonicalRequest"].startswith(
            "GET\n/bucket/key\na=1&b=2\nhost:localhost:9000"
        )
        assert bytes.fromhex(shown["CanonicalRequestBytes"]).decode() == shown["CanonicalRequest"]

    @pytest.mark.parametrize("prefix", [b"x-amz-", b"x-amz-copy-source-"])
    def test_a_customers_key_is_not_shown(self, prefix: bytes) -> None:
        name = prefix + b"server-side-encryption-customer-key"
        parts = Parts().with_header(name, b"c2VjcmV0").with_header(name + b"-md5", b"bWQ1")
        shown = details(refused(parts.signed(replace(ALICE, secret_key="x"))))
        assert f"{name.decode()}:***\n{name.decode()}-md5:bWQ1\n" in shown["CanonicalRequest"]
        assert "c2VjcmV0" not in repr(shown)
        assert b"c2VjcmV0".hex() not in shown["CanonicalRequestBytes"].replace(" ", "")

    def test_bytes_that_are_not_utf8_are_shown_escaped(self) -> None:
        parts = Parts().with_header(b"x-amz-meta-a", b"\xff").signed(replace(ALICE, secret_key="x"))
        assert "x-amz-meta-a:\\xff\n" in details(refused(parts))["CanonicalRequest"]

    def test_a_key_that_is_withdrawn_or_gets_another_secret_counts_at_once(self) -> None:
        class Changing:
            entry: Credentials | None = ALICE

            def lookup(self, access_key: str) -> Credentials | None:
                return self.entry

        keys = Changing()
        store: KeyStore = keys
        by = Authenticator(store, clock_at(NOW_S))
        parts = Parts().signed()
        assert parts.authenticate(by).identity is ALICE.identity
        keys.entry = replace(ALICE, secret_key="new")
        assert refused(parts, by).code == "SignatureDoesNotMatch"
        keys.entry = None
        assert refused(parts, by).code == "InvalidAccessKeyId"

    def test_secrets_do_not_show_in_representations(self) -> None:
        chunked = Parts().with_header(
            b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        )
        result = chunked.signed().authenticate()
        assert result.chunk_signing is not None
        for shown in (repr(ALICE), repr(TEMPORARY), repr(result), repr(result.chunk_signing)):
            assert "secret" not in shown.replace("secret_key", "")
            assert TEMPORARY.session_token not in shown


class TestTemporaryCredentials:
    def signed(self, token: bytes | None) -> Parts:
        parts = Parts()
        if token is not None:
            parts = parts.with_header(b"x-amz-security-token", token)
        return parts.signed(TEMPORARY)

    def test_with_their_token(self) -> None:
        result = self.signed(TEMPORARY.session_token.encode()).authenticate()
        assert result.identity is TEMPORARY.identity

    @pytest.mark.parametrize("token", [None, b"", b"another"])
    def test_without_their_token(self, token: bytes | None) -> None:
        assert refused(self.signed(token)).code == "InvalidToken"

    def test_a_token_with_lasting_credentials(self) -> None:
        parts = Parts().with_header(b"x-amz-security-token", b"t").signed()
        assert refused(parts).code == "InvalidToken"

    def test_after_their_end(self) -> None:
        parts = self.signed(TEMPORARY.session_token.encode())
        assert parts.authenticate(authenticator(NOW_S + 59)).identity is TEMPORARY.identity
        assert refused(parts, authenticator(NOW_S + 60)).code == "ExpiredToken"


class TestTime:
    @pytest.mark.parametrize("off_s", [-900, -1, 0, 1, 900])
    def test_clocks_may_differ_by_15_minutes(self, off_s: int) -> None:
        assert Parts().signed().authenticate(authenticator(NOW_S + off_s)).access_key

    @pytest.mark.parametrize("off_s", [-901, 901, 10**6])
    def test_and_no_more(self, off_s: int) -> None:
        error = refused(Parts().signed(), authenticator(NOW_S + off_s))
        assert error.code == "RequestTimeTooSkewed"
        assert details(error) == {
            "RequestTime": "20231114T221320Z",
            "ServerTime": iso_extended(NOW_S + off_s),
            "MaxAllowedSkewMilliseconds": "900000",
        }

    def test_the_limit_can_be_set(self) -> None:
        error = refused(Parts().signed(), authenticator(NOW_S + 6, skew_s=5))
        assert details(error)["MaxAllowedSkewMilliseconds"] == "5000"

    @pytest.mark.parametrize(
        "date", [format_datetime(datetime.fromtimestamp(NOW_S, UTC), usegmt=True).encode(), NOW]
    )
    def test_a_date_header_will_do(self, date: bytes) -> None:
        # signed with an x-amz-date that is not in the canonical request
        parts = Parts().without_header(b"x-amz-date").with_header(b"date", date).signed()
        assert parts.authenticate().identity is ALICE.identity

    @pytest.mark.parametrize(
        "date", [b"", b"yesterday", b"20231314T221320Z", b"2023-11-14T22:13:20Z"]
    )
    @pytest.mark.parametrize("name", [b"x-amz-date", b"date"])
    def test_an_unreadable_date(self, name: bytes, date: bytes) -> None:
        parts = Parts().without_header(b"x-amz-date").with_header(name, date).signed()
        error = refused(parts)
        assert error.code == "AccessDenied"
        assert "valid Date or x-amz-date" in error.message

    def test_a_bad_x_amz_date_is_not_made_good_by_a_date(self) -> None:
        date = format_datetime(datetime.fromtimestamp(NOW_S, UTC), usegmt=True).encode()
        parts = Parts().with_header(b"x-amz-date", b"soon").with_header(b"date", date)
        assert refused(parts.signed()).code == "AccessDenied"

    def test_no_date_at_all(self) -> None:
        assert refused(Parts().without_header(b"x-amz-date").signed()).code == "AccessDenied"

    def test_dates_are_read_in_utc(self) -> None:
        assert parse_iso_basic(NOW) == NOW_S
        assert parse_iso_basic(b"20240229T235960Z") is None
        assert parse_http_date(b"Tue, 14 Nov 2023 22:13:20 GMT") == NOW_S
        assert parse_http_date(b"Tue, 14 Nov 2023 22:13:20") == NOW_S
        assert parse_http_date(b"Tue, 14 Nov 2023 23:13:20 +0100") == NOW_S
        assert parse_http_date(b"\xff") is None


class TestScope:
    def test_another_region_is_told_the_right_one(self) -> None:
        error = refused(Parts().signed(region="eu-west-1"))
        assert error.code == "AuthorizationHeaderMalformed"
        assert error.message == (
            "The authorization header is malformed; "
            "the region 'eu-west-1' is wrong; expecting 'us-east-1'"
        )
        assert details(error) == {"Region": "us-east-1"}

    def test_the_region_can_be_set(self) -> None:
        parts = Parts().signed(region="eu-west-1")
        assert parts.authenticate(authenticator(region="eu-west-1")).access_key == "AKIDALICE"

    def test_another_service(self) -> None:
        error = refused(Parts().signed(service="ec2"))
        assert error.code == "AuthorizationHeaderMalformed"
        assert 'incorrect service "ec2". This endpoint belongs to "s3".' in error.message

    def test_another_day(self) -> None:
        error = refused(Parts().signed(time_s=NOW_S - 86400))
        assert error.code == "AuthorizationHeaderMalformed"
        assert 'Invalid credential date "20231113"' in error.message

    def test_an_access_key_with_slashes(self) -> None:
        odd = replace(ALICE, access_key="a/b/c")
        by = Authenticator(StaticKeyStore([odd]), clock_at(NOW_S))
        assert Parts().signed(odd).authenticate(by).access_key == "a/b/c"


GOOD = Parts().signed().header(b"authorization").decode()
CREDENTIAL = "AKIDALICE/20231114/us-east-1/s3/aws4_request"


class TestForm:
    @pytest.mark.parametrize(
        "value",
        [
            GOOD.replace(", ", ","),
            GOOD.replace(", ", " ,\t "),
            GOOD.replace("SHA256 ", "SHA256   "),
            # in another order
            "AWS4-HMAC-SHA256 " + ", ".join(reversed(GOOD.split(" ", 1)[1].split(", "))),
        ],
    )
    def test_spaces_and_order_do_not_matter(self, value: str) -> None:
        parts = Parts().with_header(b"authorization", value.encode())
        assert parts.authenticate().identity is ALICE.identity

    @pytest.mark.parametrize(
        ("value", "code", "words"),
        [
            ("", "InvalidArgument", "Unsupported Authorization Type"),
            ("Basic YTpi", "InvalidArgument", "Unsupported Authorization Type"),
            ("AWS4-HMAC-SHA512 x", "InvalidArgument", "Unsupported Authorization Type"),
            ("AWS AKID:c2ln", "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
            (GOOD.replace("HMAC", "ECDSA-P256"), "NotImplemented", "SigV4A"),
            ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed", "three components"),
            (GOOD + ", More=1", "AuthorizationHeaderMalformed", "three components"),
            (GOOD + ", Signature=1", "AuthorizationHeaderMalformed", "occurs twice"),
            (GOOD.replace("SignedHeaders", "Headers"), "AuthorizationHeaderMalformed", "three"),
            (GOOD.replace("host;", "Host;"), "AuthorizationHeaderMalformed", "lower-case"),
            (GOOD.replace("host;", "host;;"), "AuthorizationHeaderMalformed", "lower-case"),
            (GOOD.replace("host;", "host;host;"), "AuthorizationHeaderMalformed", "distinct"),
            (GOOD.replace("/us-east-1", ""), "AuthorizationHeaderMalformed", "mal-formed"),
            (GOOD.replace("20231114", "2023-11-14"), "AuthorizationHeaderMalformed", "mal-formed"),
            (GOOD.replace("AKIDALICE", ""), "AuthorizationHeaderMalformed", "non-empty Access Key"),
            (GOOD.replace("aws4_request", "aws4"), "AuthorizationHeaderMalformed", "terminal"),
        ],
    )
    def test_malformed(self, value: str, code: str, words: str) -> None:
        error = refused(Parts().with_header(b"authorization", value.encode()))
        assert error.code == code
        assert words in error.message
        assert str(error) == f"{code}: {error.message}"

    @pytest.mark.parametrize("signature", ["", "00", "z" * 64, "\xe9" * 64, "0" * 64, "0" * 65])
    def test_a_signature_of_any_shape_is_just_wrong(self, signature: str) -> None:
        value = GOOD[:-64] + signature
        error = refused(Parts().with_header(b"authorization", value.encode("latin-1")))
        assert error.code == "SignatureDoesNotMatch"

    def test_an_upper_case_signature_is_another_one(self) -> None:
        value = GOOD[:-64] + GOOD[-64:].upper()
        assert value != GOOD
        parts = Parts().with_header(b"authorization", value.encode())
        assert refused(parts).code == "SignatureDoesNotMatch"

    def test_a_very_long_header_is_parsed_like_any_other(self) -> None:
        long = replace(ALICE, access_key="K" * 5000)
        by = Authenticator(StaticKeyStore([long]), clock_at(NOW_S))
        assert Parts().signed(long).authenticate(by).access_key == "K" * 5000

    def test_two_mechanisms_at_once(self) -> None:
        for query in (b"X-Amz-Signature=00", b"x=1&X-Amz-Algorithm", b"X%2DAmz-Credential=a"):
            error = refused(Parts(query=query).signed())
            assert error.code == "InvalidArgument"
            assert "Only one auth mechanism" in error.message

    def test_two_authorization_headers(self) -> None:
        parts = Parts().signed()
        twice = replace(parts, headers=(*parts.headers, parts.headers[-1]))
        assert refused(twice).code == "AuthorizationHeaderMalformed"

    def test_what_the_caches_give_is_what_parsing_gives(self) -> None:
        first = parse_authorization(GOOD.encode())
        again = parse_authorization(GOOD[:-64].encode() + b"f" * 64)
        assert again[:2] == first[:2]
        assert first[0].text == b"20231114/us-east-1/s3/aws4_request"
        assert again[2] == b"f" * 64


class TestCoverage:
    def test_every_x_amz_header_has_to_be_signed(self) -> None:
        parts = Parts().signed().with_header(b"x-amz-meta-b", b"1").with_header(b"x-amz-acl", b"x")
        error = refused(parts)
        assert isinstance(error, errors.HeadersNotSignedError)
        assert error.code == "AccessDenied"
        assert details(error) == {"HeadersNotSigned": "x-amz-acl, x-amz-meta-b"}

    def test_others_need_not_be(self) -> None:
        parts = Parts().signed().with_header(b"user-agent", b"a").with_header(b"my-x-amz-", b"b")
        assert parts.authenticate().identity is ALICE.identity

    def test_the_host_has_to_be_signed(self) -> None:
        bare = Parts().without_header(b"host")
        error = refused(bare.signed().with_header(b"host", b"localhost:9000"))
        assert details(error) == {"HeadersNotSigned": "host"}
        error = refused(bare.signed())
        assert error.code == "MissingSecurityHeader"
        assert details(error) == {"MissingHeaderName": "host"}

    @pytest.mark.parametrize("value", [b"", b"1"])
    def test_a_signed_header_that_is_gone_is_missed(self, value: bytes) -> None:
        parts = Parts().with_header(b"x-amz-tagging", value).signed()
        assert parts.authenticate().access_key
        error = refused(parts.without_header(b"x-amz-tagging"))
        assert error.code == "SignatureDoesNotMatch"
        assert "x-amz-tagging:" not in details(error)["CanonicalRequest"]

    def test_a_missing_one_does_not_hide_an_unsigned_one(self) -> None:
        parts = Parts().with_header(b"x-amz-tagging", b"").signed().without_header(b"x-amz-tagging")
        assert refused(parts.with_header(b"x-amz-acl", b"public-read")).code in (
            "AccessDenied",
            "SignatureDoesNotMatch",
        )

    def test_content_sha256_is_required(self) -> None:
        parts = Parts().signed().without_header(b"x-amz-content-sha256")
        error = refused(parts)
        assert error.code == "InvalidRequest"
        assert "x-amz-content-sha256" in error.message

    def test_doubled_headers_are_joined(self) -> None:
        both = (b"x-amz-meta-a", b" 1  2 "), (b"x-amz-meta-a", b"3")
        sent = Parts(headers=(*Parts().headers, *both))
        signed = Parts().with_header(b"x-amz-meta-a", b"1 2,3").signed()
        value = signed.header(b"authorization")
        assert sent.with_header(b"authorization", value).authenticate().access_key

    @pytest.mark.parametrize(
        "variant", [b" a b c", b"a b c ", b"a  b c", b"a \t b c", b"a b\tc", b"\ta b c\t"]
    )
    def test_blanks_are_folded(self, variant: bytes) -> None:
        signed = Parts().with_header(b"x-amz-meta-a", b"a b c").signed()
        assert signed.with_header(b"x-amz-meta-a", variant).authenticate().access_key

    def test_a_line_break_cannot_pass_for_another_header(self) -> None:
        two = Parts().with_header(b"x-amz-meta-a", b"1").with_header(b"x-amz-meta-b", b"2").signed()
        one = two.without_header(b"x-amz-meta-b").with_header(b"x-amz-meta-a", b"1\nx-amz-meta-b:2")
        value = two.header(b"authorization").replace(b"x-amz-meta-a;x-amz-meta-b", b"x-amz-meta-a")
        assert refused(one.with_header(b"authorization", value)).code == "SignatureDoesNotMatch"


class TestCanonicalForm:
    @pytest.mark.parametrize(
        ("sent", "canonical"),
        [
            (b"", b"/"),
            (b"/", b"/"),
            (b"/a/b-c_d.e~f", b"/a/b-c_d.e~f"),
            (b"/a b", b"/a%20b"),
            (b"/a%20b", b"/a%20b"),
            (b"/a+b", b"/a%2Bb"),
            (b"/a%2bb", b"/a%2Bb"),
            (b"/%41%7e", b"/A~"),
            (b"/a%2Fb", b"/a/b"),
            (b"/a//b/../c/./", b"/a//b/../c/./"),
            ("/ü".encode(), b"/%C3%BC"),
            (b"/%c3%bc", b"/%C3%BC"),
            (b"/100%", b"/100%25"),
            (b"/%zz", b"/%25zz"),
            (b"/!$&'()*,;=:@", b"/%21%24%26%27%28%29%2A%2C%3B%3D%3A%40"),
        ],
    )
    def test_paths(self, sent: bytes, canonical: bytes) -> None:
        assert canonical_path(sent) == canonical
        assert canonical_path(canonical) == canonical

    @pytest.mark.parametrize(
        ("sent", "canonical"),
        [
            (b"/a//b/../c/./", b"/a/c/"),
            (b"/../..", b"/"),
            (b"/a/..", b"/"),
            (b"/a/b/..", b"/a/"),
            (b"/a/.", b"/a/"),
            (b"/a", b"/a"),
            (b"", b"/"),
        ],
    )
    def test_normalised_paths(self, sent: bytes, canonical: bytes) -> None:
        assert canonical_path(sent, normalise=True) == canonical

    @pytest.mark.parametrize(
        ("sent", "canonical"),
        [
            (b"", b""),
            (b"acl", b"acl="),
            (b"b=2&a=1", b"a=1&b=2"),
            (b"a=2&a=1&a=10", b"a=1&a=10&a=2"),
            (b"a=1&&b", b"a=1&b="),
            (b"a=b=c", b"a=b%3Dc"),
            (b"a=x+y", b"a=x%20y"),
            (b"a=x%2By", b"a=x%2By"),
            (b"a=%2f&%61=/", b"a=%2F&a=%2F"),
            (b"B=1&a=1&A=1", b"A=1&B=1&a=1"),
            # by name first: "a" before "a-" though "=" sorts after "-"
            (b"a-=1&a=2", b"a=2&a-=1"),
        ],
    )
    def test_queries(self, sent: bytes, canonical: bytes) -> None:
        assert canonical_query(decode_query(sent)) == canonical
        assert canonical_query(decode_query(canonical)) == canonical

    def test_every_byte_is_encoded_or_not(self) -> None:
        plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
        for byte in range(256):
            raw = bytes([byte])
            assert uri_encode(raw) == (raw if raw in plain else b"%%%02X" % byte)

    def test_percent_signs_in_header_names(self) -> None:
        signed = SignedHeaders(b"a%b;host")
        text = signed.canonical_request(b"GET", b"/", b"", {b"a%b": b"1", b"host": b"h"}, b"-")
        assert text == b"GET\n/\n\na%b:1\nhost:h\n\na%b;host\n-"

    def test_merging_headers(self) -> None:
        assert merge_headers([(b"a", b"1"), (b"b", b"2")]) == {b"a": b"1", b"b": b"2"}
        assert merge_headers([(b"a", b"1 "), (b"b", b"2"), (b"a", b" 3")]) == {
            b"a": b"1,3",
            b"b": b"2",
        }


class TestPayload:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (EMPTY_SHA256, PayloadKind.SHA256),
            (EMPTY_SHA256.upper(), PayloadKind.SHA256),
            (b"UNSIGNED-PAYLOAD", PayloadKind.UNSIGNED),
            (b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadKind.STREAMING_UNSIGNED_TRAILER),
            (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadKind.STREAMING_SIGNED),
            (
                b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                PayloadKind.STREAMING_SIGNED_TRAILER,
            ),
        ],
    )
    def test_kinds(self, value: bytes, kind: PayloadKind) -> None:
        assert classify(value) is kind
        parts = Parts().with_header(b"x-amz-content-sha256", value).signed()
        result = parts.authenticate()
        assert result.payload is kind
        assert (result.chunk_signing is not None) == kind.chunk_signed
        assert kind.aws_chunked == (b"STREAMING" in value)
        assert kind.has_trailer == value.endswith(b"TRAILER")

    @pytest.mark.parametrize("value", [b"x", b"g" * 64, EMPTY_SHA256 + b"0", b"unsigned-payload"])
    def test_nonsense(self, value: bytes) -> None:
        error = refused(Parts().with_header(b"x-amz-content-sha256", value).signed())
        assert error.code == "InvalidArgument"
        assert details(error) == {
            "ArgumentName": "x-amz-content-sha256",
            "ArgumentValue": value.decode(),
        }

    @pytest.mark.parametrize("ending", [b"", b"-TRAILER"])
    def test_sigv4a_is_not_offered(self, ending: bytes) -> None:
        with pytest.raises(errors.UnsupportedSignatureError) as caught:
            classify(b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" + ending)
        assert caught.value.code == "NotImplemented"

    def test_the_digest_of_the_body(self) -> None:
        digest = bytes.fromhex(EMPTY_SHA256.decode())
        verify_sha256(EMPTY_SHA256, digest)
        verify_sha256(EMPTY_SHA256.upper(), digest)
        with pytest.raises(errors.ContentSHA256MismatchError) as caught:
            verify_sha256(EMPTY_SHA256, bytes(32))
        assert caught.value.code == "XAmzContentSHA256Mismatch"
        assert dict(caught.value.details) == {
            "ClientComputedContentSHA256": EMPTY_SHA256.decode(),
            "S3ComputedContentSHA256": "00" * 32,
        }

    def test_the_decoded_length(self) -> None:
        assert decoded_length(b"0") == 0
        assert decoded_length(b"54975581388800") == 50 * 2**40
        for value in (None, b"", b"-1", b"+1", b"1.0", b"1_0", b" 1", "٣".encode(), b"1" * 17):
            with pytest.raises(errors.MissingDecodedLengthError):
                decoded_length(value)


def test_static_keys_and_identities() -> None:
    store = StaticKeyStore([ALICE])
    assert store.lookup("AKIDALICE") is ALICE
    assert store.lookup("") is None
    assert Identity("x") == Identity("x", "", False, False)
    assert ANONYMOUS.is_anonymous
