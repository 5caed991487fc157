"""The faces of EC2 and EBS without a server, on a clock that the test moves."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockdev.clock import ManualClock
from blockdev.entropy import SeededEntropy
from objstore.aws.http import Call, Reply
from objstore.aws.regions import MAX_OPEN_REGIONS, Regions, UnknownRegionError
from objstore.ebs.face import EbsFace
from objstore.ec2.face import Ec2Face
from tests.unit.service_requests import KEYS, sign

BLOCK = 512 * 1024
DAY_NS = 86_400 * 10**9
NS = "{http://ec2.amazonaws.com/doc/2016-11-15/}"


class Faces:
    """Both faces over one folder of regions."""

    def __init__(self, data_dir: Path, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.regions = Regions(data_dir, "us-east-1", self.clock, SeededEntropy(1))
        self._ec2 = Ec2Face(self.regions, KEYS, self.clock, max_body_bytes=10_000)
        self._ebs = EbsFace(self.regions, KEYS, self.clock, max_body_bytes=BLOCK)

    def ec2(self, action: str, region: str = "us-east-1", **fields: str) -> Reply:
        """An action, answered."""
        pairs = {name.replace("_", "."): value for name, value in fields.items()}
        body = urllib.parse.urlencode({"Action": action} | pairs).encode()
        signed = sign(self.clock, body=body, region=region)
        call = Call("POST", signed.path, signed.query, list(signed.headers), "REQUEST", body)
        return self._ec2.answer(call)

    def ebs(self, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
        """An EBS direct API, answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        signed = sign(
            self.clock,
            method=method,
            path=target,
            body=body,
            service="ebs",
            region="us-east-1",
            headers=named,
        )
        call = Call(method, signed.path, signed.query, list(signed.headers), "REQUEST", body)
        return self._ebs.answer(call)

    def snapshot(self, *indexes: int) -> str:
        """A completed snapshot with blocks at these indexes."""
        started = json.loads(self.ebs("POST", "/snapshots", b'{"VolumeSize": 1}').body)
        snapshot_id: str = started["SnapshotId"]
        block = b"b" * BLOCK
        digest = base64.b64encode(hashlib.sha256(block).digest()).decode()
        for index in indexes:
            reply = self.ebs(
                "PUT",
                f"/snapshots/{snapshot_id}/blocks/{index}",
                block,
                x_amz_data_length=str(BLOCK),
                x_amz_checksum=digest,
                x_amz_checksum_algorithm="SHA256",
            )
            assert reply.status == 201, reply.body
        done = self.ebs(
            "POST",
            f"/snapshots/completion/{snapshot_id}",
            x_amz_changedblockscount=str(len(indexes)),
        )
        assert done.status == 202, done.body
        return snapshot_id


def code(reply: Reply) -> str:
    return ET.fromstring(reply.body).findtext("Errors/Error/Code") or ""


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[Faces]:
    made = Faces(tmp_path)
    yield made
    opened = [made.regions.get(name).region for name in made.regions.names()]
    assert [region.check() for region in opened] == [[] for _ in opened]
    made.regions.close()


def listed(faces: Faces, snapshot_id: str, **query: str) -> dict[str, Any]:
    target = f"/snapshots/{snapshot_id}/blocks"
    if query:
        target += "?" + urllib.parse.urlencode(query)
    reply = faces.ebs("GET", target)
    document: dict[str, Any] = json.loads(reply.body)
    return document | {"status": reply.status}


def test_block_tokens_live_for_a_week(faces: Faces) -> None:
    snapshot_id = faces.snapshot(5)
    page = listed(faces, snapshot_id)
    (block,) = page["Blocks"]
    now_s = faces.clock.now_ns() // 10**9
    assert page["ExpiryTime"] == now_s + 7 * 86_400
    query = urllib.parse.urlencode({"blockToken": block["BlockToken"]})
    target = f"/snapshots/{snapshot_id}/blocks/5?{query}"
    faces.clock.advance(7 * DAY_NS - 10**9)
    reply = faces.ebs("GET", target)
    assert (reply.status, reply.body) == (200, b"b" * BLOCK)
    faces.clock.advance(2 * 10**9)
    reply = faces.ebs("GET", target)
    assert (reply.status, json.loads(reply.body)["Reason"]) == (400, "INVALID_BLOCK_TOKEN")


def test_page_tokens_live_for_an_hour(faces: Faces) -> None:
    snapshot_id = faces.snapshot(*range(101))
    token = listed(faces, snapshot_id, maxResults="100")["NextToken"]
    faces.clock.advance(3599 * 10**9)
    rest = listed(faces, snapshot_id, pageToken=token)
    assert [block["BlockIndex"] for block in rest["Blocks"]] == [100]
    assert "NextToken" not in rest
    faces.clock.advance(2 * 10**9)
    late = listed(faces, snapshot_id, pageToken=token)
    assert (late["status"], late["Reason"]) == (400, "INVALID_PAGE_TOKEN")


def test_tokens_hold_in_another_process_and_after_a_restart(tmp_path: Path) -> None:
    first = Faces(tmp_path)
    snapshot_id = first.snapshot(0)
    (block,) = listed(first, snapshot_id)["Blocks"]
    first.regions.close()
    second = Faces(tmp_path, first.clock)
    query = urllib.parse.urlencode({"blockToken": block["BlockToken"]})
    assert second.ebs("GET", f"/snapshots/{snapshot_id}/blocks/0?{query}").status == 200
    second.regions.close()
    assert (tmp_path / "region" / "token.key").stat().st_mode & 0o777 == 0o600


def test_a_snapshot_that_nobody_goes_on_with_times_out(faces: Faces) -> None:
    body = b'{"VolumeSize": 1, "Timeout": 10}'
    snapshot_id = json.loads(faces.ebs("POST", "/snapshots", body).body)["SnapshotId"]
    faces.clock.advance(11 * 60 * 10**9)
    late = faces.ebs("POST", f"/snapshots/completion/{snapshot_id}", x_amz_changedblockscount="0")
    assert late.status == 400
    assert json.loads(late.body)["Reason"] == "WRITE_REQUEST_TIMEOUT"


def test_a_region_is_its_folder(faces: Faces, tmp_path: Path) -> None:
    assert not (tmp_path / "region").exists()
    assert faces.ec2("DescribeVolumes").status == 200
    assert (tmp_path / "region" / "region.sqlite").exists()
    assert not (tmp_path / "regions").exists()
    made = faces.ec2("CreateVolume", "eu-west-1", AvailabilityZone="eu-west-1b", Size="1")
    assert ET.fromstring(made.body).findtext(f"{NS}availabilityZoneId") == "euw1-az2"
    assert faces.regions.names() == ["us-east-1", "eu-west-1"]


def test_a_folder_keeps_the_region_that_it_was_made_for(tmp_path: Path) -> None:
    first = Faces(tmp_path)
    assert first.ec2("DescribeVolumes").status == 200
    first.regions.close()
    clock = ManualClock()
    moved = Regions(tmp_path, "eu-west-1", clock, SeededEntropy(2))
    face = Ec2Face(moved, KEYS, clock, max_body_bytes=10_000)
    signed = sign(clock, body=b"Action=DescribeVolumes", region="eu-west-1")
    reply = face.answer(Call("POST", b"/", b"", list(signed.headers), "ID", signed.body))
    assert (reply.status, code(reply)) == (500, "InternalError")
    assert b"--region us-east-1" in reply.body
    moved.close()


def test_regions_are_bounded_and_closed_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_OPEN_REGIONS >= 40  # AWS has more than thirty
    monkeypatch.setattr("objstore.aws.regions.MAX_OPEN_REGIONS", 2)
    regions = Regions(tmp_path, "a", ManualClock(), SeededEntropy(1))
    assert regions.get("a") is regions.get("a")
    regions.get("b")
    with pytest.raises(UnknownRegionError):
        regions.get("c")
    assert regions.find("c") is None
    for name in ("", "..", "a/b", "A", "x" * 33):
        with pytest.raises(UnknownRegionError):
            regions.get(name)
    regions.close()
    regions.close()
    with pytest.raises(UnknownRegionError):
        regions.get("a")


def test_an_error_nobody_foresaw_tells_nothing(
    faces: Faces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    region = faces.regions.get("us-east-1").region

    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(region, "describe_volumes", fail)
    reply = faces.ec2("DescribeVolumes")
    assert (reply.status, code(reply)) == (500, "InternalError")
    assert b"secret" not in reply.body
    assert "REQUEST" in caplog.text
    assert "a secret of the server" in caplog.text


def test_optimizing_ends_with_time(faces: Faces) -> None:
    made = faces.ec2("CreateVolume", AvailabilityZone="us-east-1a", Size="100")
    volume_id = ET.fromstring(made.body).findtext(f"{NS}volumeId") or ""
    faces.ec2("ModifyVolume", VolumeId=volume_id, VolumeType="gp3")

    def state() -> str | None:
        reply = faces.ec2("DescribeVolumesModifications", VolumeId_1=volume_id)
        return ET.fromstring(reply.body).findtext(f".//{NS}modificationState")

    faces.clock.advance(10**9)
    assert state() == "optimizing"
    faces.clock.advance(DAY_NS)
    assert state() == "completed"
