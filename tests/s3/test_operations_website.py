"""Websites: what a bucket says of its own, and what browsers get at the end point of websites."""

from __future__ import annotations

import json

import pytest

from objstore.auth.keys import ANONYMOUS
from objstore.s3.http import Request
from objstore.s3.website import domains
from tests.s3.harness import ROOT, S3, Reply, backend

__all__ = ["backend"]

INDEX = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
ERROR = "<ErrorDocument><Key>errors/oops.html</Key></ErrorDocument>"
HOST = "www.example.com.s3-website.localhost:9000"
BUCKET = "www.example.com"


def website(inner: str) -> bytes:
    return f"<WebsiteConfiguration>{inner}</WebsiteConfiguration>".encode()


def rules(*each: str) -> str:
    listed = "".join(f"<RoutingRule>{rule}</RoutingRule>" for rule in each)
    return f"<RoutingRules>{listed}</RoutingRules>"


class Site(S3):
    """A bucket with pages, a website, and browsers that ask for them."""

    def __init__(self) -> None:
        super().__init__()
        self.ctx.website_domains = domains(("localhost",), "us-east-1", ("sites.example",))
        self("PUT", f"/{BUCKET}")
        for key in ("index.html", "about.html", "blog/index.html", "errors/oops.html"):
            self.page(key, f"<p>{key}</p>".encode())

    def page(self, key: str, content: bytes, **headers: str) -> None:
        named = {"content-type": "text/html"} | {k.replace("_", "-"): v for k, v in headers.items()}
        assert self("PUT", f"/{BUCKET}/{key}", content, headers=named).status == 200

    def configure(self, inner: str) -> None:
        assert self("PUT", f"/{BUCKET}", website(inner), query="website").status == 200

    def open(self, *actions: str) -> None:
        self("DELETE", f"/{BUCKET}", query="publicAccessBlock")
        resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
        allowed = {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": resources}
        document = json.dumps({"Statement": allowed}).encode()
        assert self("PUT", f"/{BUCKET}", document, query="policy").status == 204

    def browse(
        self, path: str, method: str = "GET", host: str = HOST, query: str = "", **headers: str
    ) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.authenticator.identity = ANONYMOUS
        try:
            return self(method, path, host=host, query=query, headers=named)
        finally:
            self.authenticator.identity = ROOT


@pytest.fixture
def site() -> Site:
    found = Site()
    found.configure(INDEX + ERROR)
    found.open("s3:GetObject", "s3:ListBucket")
    return found


def test_pages_and_folders(site: Site) -> None:
    for path, content in (
        ("/", b"<p>index.html</p>"),
        ("/about.html", b"<p>about.html</p>"),
        ("/blog/", b"<p>blog/index.html</p>"),
    ):
        page = site.browse(path)
        assert (page.status, page.body) == (200, content), path
        assert page.headers["content-type"] == "text/html"
    folder = site.browse("/blog")
    assert (folder.status, folder.headers["location"]) == (302, "/blog/")
    head = site.browse("/about.html", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "17")
    assert head.headers == site.browse("/about.html").headers
    # what a browser adds is no parameter of an operation here
    assert site.browse("/about.html", query="utm_source=x&acl&versionId=1").status == 200


def test_what_a_browser_has_it_does_not_get_again(site: Site) -> None:
    page = site.browse("/about.html")
    same = site.browse("/about.html", if_none_match=page.headers["etag"])
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", page.headers["etag"])
    dated = site.browse("/about.html", if_modified_since=page.headers["last-modified"])
    assert dated.status == 304
    part = site.browse("/about.html", range="bytes=3-7", if_range=page.headers["etag"])
    assert (part.status, part.body) == (206, b"about")
    assert site.browse("/about.html", range="bytes=99-").status == 416


def test_errors_are_pages(site: Site) -> None:
    own = site.browse("/missing.html")
    assert (own.status, own.body) == (404, b"<p>errors/oops.html</p>")
    assert own.headers["x-amz-error-code"] == "NoSuchKey"
    assert own.headers["x-amz-error-detail-key"] == "missing.html"
    assert site.browse("/missing/").status == 404
    site.configure(INDEX)
    plain = site.browse("/<missing>")
    assert (plain.status, plain.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"<h1>404 Not Found</h1>" in plain.body
    assert b"<li>Code: NoSuchKey</li>" in plain.body
    assert b"<li>Key: &lt;missing&gt;</li>" in plain.body
    head = site.browse("/missing", method="HEAD")
    assert (head.status, head.body) == (404, b"")


def test_a_page_for_errors_that_is_missing_is_told_of(site: Site) -> None:
    site("DELETE", f"/{BUCKET}/errors/oops.html")
    page = site.browse("/missing")
    assert page.status == 404
    assert b"Retrieve a Custom Error Document" in page.body
    assert b"errors/oops.html" in page.body


def test_what_nobody_may_read_is_denied_and_not_told(site: Site) -> None:
    site.open("s3:GetObject")
    assert site.browse("/missing").status == 403
    assert site.browse("/about.html").status == 200
    assert site.browse("/blog").headers["location"] == "/blog/"
    site("DELETE", f"/{BUCKET}", query="policy")
    denied = site.browse("/about.html")
    assert denied.status == 403
    assert b"AccessDenied" in denied.body
    assert b"about" not in denied.body
    assert site.browse("/blog").status == 403


def test_only_reads(site: Site) -> None:
    for method in ("PUT", "DELETE", "POST"):
        refused = site.browse("/about.html", method=method)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD"), method
        assert b"MethodNotAllowed" in refused.body
    assert site("GET", f"/{BUCKET}/about.html").body == b"<p>about.html</p>"


def test_which_hosts_are_for_websites(site: Site) -> None:
    for host in (
        f"{BUCKET}.s3-website.localhost",
        f"{BUCKET}.s3-website-us-east-1.localhost:80",
        f"{BUCKET}.s3-website.us-east-1.localhost",
        f"{BUCKET}.sites.example",
        BUCKET,
        BUCKET.upper() + ":8080",
    ):
        assert site.browse("/", host=host).body == b"<p>index.html</p>", host
    # the same bucket by the API's hosts
    assert site.browse("/index.html", host=f"{BUCKET}.localhost").status == 200
    assert site.browse("/", host=f"{BUCKET}.localhost").xml.tag == "ListBucketResult"
    assert site.browse("/", host="other.example.com").code == "AccessDenied"
    signed = {"authorization": "AWS4-HMAC-SHA256 ..."}
    assert site("GET", f"/{BUCKET}/index.html", host=BUCKET, headers=signed).status == 200
    by_link = site.browse(f"/{BUCKET}/missing", host=BUCKET, query="X-Amz-Signature=x")
    assert by_link.code == "NoSuchKey"
    assert b"NoSuchBucket" in site.browse("/", host="nothing.sites.example").body


def test_without_a_configuration_there_is_no_website(site: Site) -> None:
    assert site("DELETE", f"/{BUCKET}", query="website").status == 204
    missing = site.browse("/")
    assert missing.status == 404
    assert b"NoSuchWebsiteConfiguration" in missing.body
    assert site.browse("/", host=BUCKET).code == "AccessDenied"
    assert site("GET", f"/{BUCKET}", query="website").code == "NoSuchWebsiteConfiguration"


def test_everything_can_be_sent_elsewhere(site: Site) -> None:
    site.configure(
        "<RedirectAllRequestsTo><HostName>example.com:8443</HostName><Protocol>https</Protocol>"
        "</RedirectAllRequestsTo>"
    )
    sent = site.browse("/a b/ä?", query="q=1")
    assert sent.status == 301
    assert sent.headers["location"] == "https://example.com:8443/a%20b/%C3%A4%3F?q=1"
    site.configure("<RedirectAllRequestsTo><HostName>e</HostName></RedirectAllRequestsTo>")
    assert site.browse("/").headers["location"] == "http://e/"


def test_rules_for_prefixes(site: Site) -> None:
    old = "<Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>"
    gone = "<Condition><KeyPrefixEquals>gone</KeyPrefixEquals></Condition>"
    site.configure(
        INDEX
        + rules(
            f"{old}<Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect>",
            f"{gone}<Redirect><ReplaceKeyWith>why.html?a=b#c</ReplaceKeyWith>"
            "<HttpRedirectCode>307</HttpRedirectCode><HostName>other</HostName></Redirect>",
        )
    )
    site.page("old/there.html", b"even what is there")
    sent = site.browse("/old/there.html")
    assert sent.status == 301
    assert sent.headers["location"] == f"http://{HOST}/new/there.html"
    assert sent.headers["content-length"] == "0"
    sent = site.browse("/gone/for/ever")
    assert (sent.status, sent.headers["location"]) == (307, "http://other/why.html?a=b#c")
    assert site.browse("/about.html").status == 200


def test_rules_for_errors(site: Site) -> None:
    spa = (
        "<Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>"
        "<Redirect><ReplaceKeyPrefixWith>#!/</ReplaceKeyPrefixWith></Redirect>"
    )
    both = (
        "<Condition><KeyPrefixEquals>docs/</KeyPrefixEquals>"
        "<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>"
        "<Redirect><Protocol>https</Protocol><HttpRedirectCode>302</HttpRedirectCode></Redirect>"
    )
    site.configure(INDEX + ERROR + rules(both, spa))
    assert site.browse("/about.html").status == 200
    assert site.browse("/app/x").headers["location"] == f"http://{HOST}/#!/app/x"
    sent = site.browse("/docs/x")
    assert (sent.status, sent.headers["location"]) == (302, f"https://{HOST}/docs/x")
    site("DELETE", f"/{BUCKET}", query="policy")
    assert site.browse("/app/x").status == 403


def test_an_object_can_send_elsewhere(site: Site) -> None:
    site.page("moved.html", b"old", x_amz_website_redirect_location="/about.html")
    sent = site.browse("/moved.html")
    assert (sent.status, sent.headers["location"]) == (301, "/about.html")
    assert site.browse("/moved.html", method="HEAD").status == 301
    # the API gives the object, and says where it would send a browser
    read = site("GET", f"/{BUCKET}/moved.html")
    assert (read.status, read.body) == (200, b"old")
    assert read.headers["x-amz-website-redirect-location"] == "/about.html"
    site.page("ä.html", b"", x_amz_website_redirect_location="https://example.com/é?x=1")
    assert site.browse("/ä.html").headers["location"] == "https://example.com/%C3%A9?x=1"


def test_where_an_object_sends_is_not_copied(site: Site) -> None:
    name = "x-amz-website-redirect-location"
    site.page("moved", b"old", x_amz_website_redirect_location="/about.html")
    source = {"x-amz-copy-source": f"{BUCKET}/moved"}

    def copied(key: str, **headers: str) -> str | None:
        named = source | {k.replace("_", "-"): v for k, v in headers.items()}
        assert site("PUT", f"/{BUCKET}/{key}", headers=named).status == 200
        return site("HEAD", f"/{BUCKET}/{key}").headers.get(name)

    assert copied("copy") is None
    assert copied("copy", x_amz_website_redirect_location="/x") == "/x"
    assert copied("moved", x_amz_website_redirect_location="/y") == "/y"
    assert copied("new", x_amz_metadata_directive="REPLACE") is None
    assert site("HEAD", f"/{BUCKET}/moved").headers["content-type"] == "text/html"


def test_uploads_in_parts_send_elsewhere_too(site: Site) -> None:
    headers = {"x-amz-website-redirect-location": "/about.html"}
    started = site("POST", f"/{BUCKET}/parts", query="uploads", headers=headers)
    upload = {"uploadId": started.text("UploadId") or ""}
    part = site("PUT", f"/{BUCKET}/parts", b"x", query={"partNumber": "1", **upload})
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert site("POST", f"/{BUCKET}/parts", body, query=upload).status == 200
    assert site.browse("/parts").headers["location"] == "/about.html"


@pytest.mark.parametrize("location", ["", "about.html", "ftp://x", "/" + "x" * 2048])
def test_where_an_object_sends_is_a_place(site: Site, location: str) -> None:
    headers = {"x-amz-website-redirect-location": location}
    refused = site("PUT", f"/{BUCKET}/key", b"x", headers=headers)
    assert (refused.status, refused.code) == (400, "InvalidRedirectLocation")
    assert site("GET", f"/{BUCKET}/key").status == 404


def test_a_page_of_another_origin_may_ask(site: Site) -> None:
    cors = (
        b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>"
        b"<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
    )
    assert site("PUT", f"/{BUCKET}", cors, query="cors").status == 200
    asked = {"origin": "https://a", "access_control_request_method": "GET"}
    assert site.browse("/about.html", "OPTIONS", **asked).status == 200
    assert site.browse("/about.html", origin="https://a").headers["access-control-allow-origin"]


def test_a_website_is_given_back_as_it_was_put(site: Site) -> None:
    rule = (
        "<Condition><KeyPrefixEquals>a</KeyPrefixEquals>"
        "<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>"
        "<Redirect><Protocol>https</Protocol><HostName>b</HostName>"
        "<ReplaceKeyPrefixWith/><HttpRedirectCode>308</HttpRedirectCode></Redirect>"
    )
    inner = INDEX + ERROR + rules(rule)
    site.configure(inner)
    got = site("GET", f"/{BUCKET}", query="website").body.decode()
    assert (
        inner.replace("<ReplaceKeyPrefixWith/>", "<ReplaceKeyPrefixWith></ReplaceKeyPrefixWith>")
        in got
    )


def test_more_rules_than_fifty(site: Site) -> None:
    rule = "<Redirect><HostName>b</HostName></Redirect>"
    body = website(INDEX + rules(*[rule] * 51))
    refused = site("PUT", f"/{BUCKET}", body, query="website")
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    site.configure(INDEX + rules(*[rule] * 50))


def test_an_error_of_the_servers_own_is_a_page_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError("the disk")

    monkeypatch.setattr(site.store, "get", fail)
    page = site.browse("/about.html")
    assert page.status == 500
    assert b"InternalError" in page.body
    assert b"disk" not in page.body


def test_a_key_that_begins_with_a_slash_is_no_host(site: Site) -> None:
    site.page("/evil.example/index.html", b"<p>here</p>")
    moved = site.browse("//evil.example")
    assert (moved.status, moved.headers["location"]) == (302, "/%2Fevil.example/")
    request = Request("GET", b"/%2Fevil.example/", b"", [(b"host", HOST.encode())])
    site.authenticator.identity = ANONYMOUS
    assert site.run(request, b"").body == b"<p>here</p>"


def test_a_folder_is_told_of_only_where_its_page_would_be_shown(site: Site) -> None:
    assert site.browse("/blog").status == 302
    payer = b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"
    assert site("PUT", f"/{BUCKET}", payer, query="requestPayment").status == 200
    assert site.browse("/blog").status == 403


def test_names_below_a_domain_of_the_api_are_for_the_api(site: Site) -> None:
    name = "www.localhost"  # of which a bucket of this name would else take the requests
    assert site("PUT", f"/{name}").status == 200
    assert site("PUT", f"/{name}", website(INDEX), query="website").status == 200
    site("PUT", "/www")
    assert site.browse("/", host=name).headers["content-type"] == "application/xml"
    assert site("GET", "/", host=name).text("Name") == "www"


def test_the_dot_at_the_end_of_a_host_is_of_its_root(site: Site) -> None:
    for host in (f"{BUCKET}.", f"{BUCKET}.:9000", HOST.replace(":", ".:")):
        assert site.browse("/about.html", host=host).body == b"<p>about.html</p>", host


def test_what_a_key_of_kms_encrypts_is_no_page(site: Site) -> None:
    kms = {"x-amz-server-side-encryption": "aws:kms"}
    assert site("PUT", f"/{BUCKET}/secret.html", b"<p>secret</p>", headers=kms).status == 200
    refused = site.browse("/secret.html")
    assert (refused.status, refused.headers["x-amz-error-code"]) == (400, "InvalidArgument")
