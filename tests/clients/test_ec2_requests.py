"""What EC2's face does with requests that are not as they should be; S3 is on the same port."""

from __future__ import annotations

import datetime
import re
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.ec2.table import ACTIONS
from tests.clients.block_services import service_client
from tests.clients.endpoint import ServerProcess, shift_signing_clock
from tests.clients.errors import refused


def send(
    server: ServerProcess,
    fields: Mapping[str, str] | bytes,
    *,
    method: str = "POST",
    path: str = "/",
    query: str = "",
    content_type: str = "application/x-www-form-urlencoded",
    region: str = "us-east-1",
    service: str = "ec2",
) -> tuple[int, str, bytes]:
    """A signed request as nobody's client sends it: status, error code and body."""
    body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields).encode()
    endpoint = server.endpoint
    url = f"{endpoint.url}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, data=body, headers={"Content-Type": content_type})
    keys = Credentials(endpoint.access_key, endpoint.secret_key)
    botocore.auth.SigV4Auth(keys, service, region).add_auth(request)
    prepared = urllib.request.Request(
        url, body or None, dict(request.headers.items()), method=method
    )
    try:
        with urllib.request.urlopen(prepared, timeout=60) as answer:
            return answer.status, "", answer.read()
    except urllib.error.HTTPError as error:
        text = error.read()
        found = re.search(rb"<Code>([^<]+)</Code>", text)
        return error.code, found[1].decode() if found else "", text


IN_ZONE = {"AvailabilityZone": "us-east-1a", "Size": "1"}


def test_the_error_document(block_server: ServerProcess) -> None:
    status, _, body = send(block_server, {"Action": "DescribeVolumes", "Colour": "<red>"})
    root = ET.fromstring(body)
    assert (status, root.tag) == (400, "Response")
    assert root.findtext("Errors/Error/Code") == "UnknownParameter"
    assert root.findtext("Errors/Error/Message") == "The parameter Colour is not recognized"
    assert re.fullmatch("[0-9A-F]{16}", root.findtext("RequestID") or "")


@pytest.mark.parametrize(
    ("status", "code", "fields"),
    [
        (400, "MissingAction", {}),
        (400, "InvalidAction", {"Action": "MakeCoffee"}),
        (501, "UnsupportedOperation", {"Action": "CreateVpc", "CidrBlock": "10.0.0.0/16"}),
        (400, "NoSuchVersion", {"Action": "DescribeVolumes", "Version": "2099-01-01"}),
        (400, "InvalidCharacter", {"Action": "DescribeVolumes", "VolumeId.1": "\x00"}),
        (400, "MalformedQueryString", b"Action=DescribeVolumes&Action=DescribeVolumes"),
        (400, "MalformedQueryString", b"Action=DescribeVolumes&VolumeId..1=x"),
        (400, "UnknownParameter", {"Action": "DescribeVolumes", "VolumeId": "vol-1"}),
        (400, "InvalidParameterValue", {"Action": "DescribeVolumes", "MaxResults": "many"}),
        (400, "InvalidParameterValue", {"Action": "DeleteVolume", "VolumeId": "snap-1"}),
        (400, "InvalidParameterValue", {"Action": "DeleteVolume", "VolumeId": ""}),
        (400, "InvalidParameterValue", {"Action": "DescribeSnapshots", "SnapshotId.1": "x"}),
        (400, "InvalidInstanceID.Malformed", {"Action": "StopInstances", "InstanceId.1": "vol-1"}),
        (400, "InvalidInstanceID.Malformed", {"Action": "StopInstances", "InstanceId.1": "i-zz"}),
        (400, "InvalidParameterValue", {"Action": "DeleteVolume", "VolumeId": "vol-xyz"}),
        (400, "InvalidVolumeID.Malformed", {"Action": "DeleteVolume", "VolumeId": "vol-12"}),
        (400, "InvalidVolume.NotFound", {"Action": "DeleteVolume", "VolumeId": "vol-1234abcd"}),
        (400, "InvalidParameterValue", {"Action": "DeleteSnapshot", "SnapshotId": "snap-zz"}),
        (400, "InvalidSnapshotID.Malformed", {"Action": "DeleteSnapshot", "SnapshotId": "snap-1"}),
        (
            400,
            "MissingParameter",
            {"Action": "CreateTags", "ResourceId.1": "vol-1", "Tag.1.Value": "v"},
        ),
        (
            400,
            "MissingParameter",
            {"Action": "DeleteTags", "ResourceId.1": "vol-1", "Tag.1.Value": "v"},
        ),
        (
            400,
            "MissingParameter",
            {"Action": "CreateVolume", "TagSpecification.1.Tag.1.Key": "k", **IN_ZONE},
        ),
        (
            400,
            "InvalidParameterValue",
            {
                "Action": "CreateVolume",
                "TagSpecification.1.ResourceType": "volume",
                "TagSpecification.2.ResourceType": "volume",
                **IN_ZONE,
            },
        ),
        (
            400,
            "InvalidParameterValue",
            {
                "Action": "ResetSnapshotAttribute",
                "SnapshotId": "snap-1234abcd",
                "Attribute": "productCodes",
            },
        ),
    ],
)
def test_bad_forms(
    block_server: ServerProcess, status: int, code: str, fields: dict[str, str] | bytes
) -> None:
    assert send(block_server, fields)[:2] == (status, code)


def test_a_copy_that_would_go_elsewhere(block_server: ServerProcess) -> None:
    """boto3 sets DestinationRegion by itself, to the region that it speaks to."""
    fields = {
        "Action": "CopySnapshot",
        "SourceRegion": "us-east-1",
        "SourceSnapshotId": "snap-1234abcd",
        "DestinationRegion": "eu-west-1",
    }
    assert send(block_server, fields)[:2] == (400, "InvalidParameterValue")


def test_a_body_that_is_no_form(block_server: ServerProcess) -> None:
    answer = send(block_server, b"{}", content_type="application/json")
    assert answer[:2] == (400, "MalformedQueryString")


def test_a_body_that_is_too_long(block_server: ServerProcess) -> None:
    status, code, _ = send(block_server, b"Action=DescribeVolumes&x=" + b"y" * (3 << 20))
    assert (status, code) == (400, "MalformedQueryString")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_methods_that_are_none_of_the_protocol(block_server: ServerProcess, method: str) -> None:
    assert send(block_server, b"", method=method)[:2] == (400, "InvalidAction")


def test_an_action_by_get(block_server: ServerProcess) -> None:
    query = "Action=DescribeRegions&Version=2016-11-15&RegionName.1=us-east-1"
    status, _, body = send(block_server, b"", method="GET", query=query)
    assert status == 200
    assert b"<regionName>us-east-1</regionName>" in body


def test_a_presigned_action(block_server: ServerProcess, ec2: Any) -> None:
    url = ec2.generate_presigned_url("describe_availability_zones", HttpMethod="GET")
    assert urllib.parse.urlsplit(url).query.startswith("Action=")
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert b"<zoneName>us-east-1a</zoneName>" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("DescribeAvail", "DeleteAvail"), timeout=60)
    assert (caught.value.code, b"AuthFailure" in caught.value.read()) == (401, True)


def test_requests_of_strangers(block_server: ServerProcess) -> None:
    endpoint = block_server.endpoint
    for keys in (
        {"aws_access_key_id": "NOBODY"},
        {"aws_secret_access_key": "wrong"},
        {"aws_session_token": "none of ours"},
    ):
        stranger = service_client(endpoint, "ec2", **keys)
        with refused(401, "AuthFailure"):
            stranger.describe_volumes()


def test_late_requests(block_server: ServerProcess, ec2: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shift_signing_clock(patch, datetime.timedelta(minutes=-20))
        with refused(400, "RequestExpired"):
            ec2.describe_volumes()


def test_regions_that_no_folder_can_be_named_after(block_server: ServerProcess) -> None:
    for region in ("..", "UPPER", "x" * 40):
        status, code, _ = send(block_server, {"Action": "DescribeVolumes"}, region=region)
        assert (status, code) == (401, "AuthFailure"), region
    assert not (block_server.data / "regions" / "UPPER").exists()


@pytest.mark.parametrize(
    "name", sorted(name for name, row in ACTIONS.items() if row.table.required)
)
def test_every_action_says_what_it_lacks(block_server: ServerProcess, name: str) -> None:
    status, code, body = send(block_server, {"Action": name})
    assert (status, code) == (400, "MissingParameter")
    assert ACTIONS[name].table.required[0].encode() in body


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_action_refuses_what_it_does_not_know(block_server: ServerProcess, name: str) -> None:
    assert send(block_server, {"Action": name, "Colour": "red"})[:2] == (400, "UnknownParameter")


def test_an_action_is_never_an_operation_of_s3(block_server: ServerProcess) -> None:
    """Nor the other way round: a signature counts for the service that it names."""
    status, code, body = send(block_server, b"", path="/bucket", method="PUT")
    assert (status, code) == (400, "AuthorizationHeaderMalformed"), body
    s3 = block_server.endpoint.client()
    assert [b["Name"] for b in s3.list_buckets()["Buckets"] if b["Name"] == "bucket"] == []
