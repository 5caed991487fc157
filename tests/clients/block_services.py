"""boto3 clients for EC2 and EBS whose every answer is held against the model of its service.

A client skips what its model does not name, so an element with a wrong name, or at a wrong
place, would go unseen.  Here each answer is walked: all that is in it has to be in the
model, by the model's name and of the model's type.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.clients.endpoint import Endpoint

NAMESPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
SCALARS = {
    "string": re.compile(r".*", re.DOTALL),
    "integer": re.compile(r"-?\d+"),
    "long": re.compile(r"-?\d+"),
    "boolean": re.compile(r"true|false"),
    "timestamp": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
}


def service_client(
    endpoint: Endpoint,
    service: str,
    *,
    region: str | None = None,
    **options: Any,
) -> Any:
    """A client that tries once and checks every answer."""
    options.setdefault("aws_access_key_id", endpoint.access_key)
    options.setdefault("aws_secret_access_key", endpoint.secret_key)
    client = boto3.client(
        service,
        endpoint_url=endpoint.url,
        region_name=region or endpoint.region,
        config=Config(connect_timeout=10, read_timeout=120, retries={"total_max_attempts": 1}),
        **options,
    )
    check = check_xml if service == "ec2" else check_json
    client.meta.events.register(f"before-parse.{service}", check)
    return client


def assert_regions_whole(data: Path) -> None:
    """No block of any region of a server is missing, and none is left over."""
    from blockdev.service import Region

    for path in (data / "region", *sorted((data / "regions").glob("*"))):
        if path.is_dir():
            with Region.open(path) as region:
                assert region.check() == [], path


def check_xml(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """The document is the operation's, and holds nothing that its model does not."""
    root = ET.fromstring(response_dict["body"])
    if response_dict["status_code"] >= 300:
        assert [child.tag for child in root] == ["Errors", "RequestID"], root
        assert [child.tag for child in root[0][0]] == ["Code", "Message"], root
        return
    assert root.tag == f"{NAMESPACE}{operation_model.name}Response"
    children = list(root)
    assert children[0].tag == f"{NAMESPACE}requestId"
    if operation_model.output_shape is None:
        assert [(c.tag, c.text) for c in children[1:]] == [(f"{NAMESPACE}return", "true")]
        return
    root.remove(children[0])
    _check_element(root, operation_model.output_shape, operation_model.name)


def _check_element(element: ET.Element, shape: Any, path: str) -> None:
    if shape.type_name == "structure":
        members = {s.serialization.get("name", name): s for name, s in shape.members.items()}
        names = [child.tag.removeprefix(NAMESPACE) for child in element]
        assert len(set(names)) == len(names), (path, names)
        for name, child in zip(names, element, strict=True):
            assert name in members, f"{path}.{name} is not in the model"
            _check_element(child, members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for child in element:
            wanted = shape.member.serialization.get("name", "member")
            assert child.tag == f"{NAMESPACE}{wanted}", (path, child.tag)
            _check_element(child, shape.member, f"{path}[]")
    else:
        text = element.text or ""
        assert SCALARS[shape.type_name].fullmatch(text), (path, text)
        assert len(element) == 0, path
        enum = getattr(shape, "enum", None)
        assert not enum or text in enum, (path, text)


def check_json(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """The status is the model's; members and headers are in it."""
    headers = {name.lower(): value for name, value in response_dict["headers"].items()}
    if response_dict["status_code"] >= 300:
        document = json.loads(response_dict["body"])
        assert document.keys() <= {"Message", "Reason"}
        _check_error(operation_model, headers["x-amzn-errortype"], document, response_dict)
        return
    assert response_dict["status_code"] == operation_model.http.get("responseCode", 200)
    shape = operation_model.output_shape
    own = {
        member.serialization["name"].lower()
        for member in shape.members.values()
        if member.serialization.get("location") == "header"
    }
    sent = {name for name in headers if name.startswith("x-amz-")}
    assert sent == own, (sent, own)
    if "payload" not in shape.serialization and response_dict["body"]:
        _check_member(json.loads(response_dict["body"]), shape, operation_model.name)


def _check_error(operation_model: Any, name: str, document: Any, response_dict: Any) -> None:
    shapes = {shape.name: shape for shape in operation_model.error_shapes}
    if name in shapes:
        assert response_dict["status_code"] == shapes[name].metadata["error"]["httpStatusCode"]
        assert document.keys() <= shapes[name].members.keys()
        reason = shapes[name].members.get("Reason")
        assert "Reason" not in document or document["Reason"] in reason.enum


def _check_member(value: Any, shape: Any, path: str) -> None:
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "long": int,
        "boolean": bool,
        "timestamp": (int, float),
        "structure": dict,
        "list": list,
    }
    assert isinstance(value, kinds[shape.type_name]), (path, value)
    if shape.type_name == "structure":
        assert value.keys() <= shape.members.keys(), (path, value.keys())
        for name, child in value.items():
            _check_member(child, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for child in value:
            _check_member(child, shape.member, f"{path}[]")
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern")
        assert pattern is None or re.fullmatch(pattern, value), (path, value)
        assert len(value) <= shape.metadata.get("max", len(value)), path
