"""What botocore's model of EC2 says of actions: names of parameters in the query, and filters."""

from __future__ import annotations

import re
from typing import Any

import botocore.session

_FILTER_OF_ITEM = re.compile(r"<li>\s*<p>\s*<code>([^<]+)</code>(.*?)</p>", re.DOTALL)
_NAME_IN_ITEM = re.compile(r"<code>([^<]+)</code>")


def service_model(name: str = "ec2") -> Any:
    """botocore's model of a service."""
    return botocore.session.get_session().get_service_model(name)


def query_name(name: str, shape: Any) -> str:
    """How a member of a structure is written in the query (botocore's EC2Serializer)."""
    if "queryName" in shape.serialization:
        return str(shape.serialization["queryName"])
    if "name" in shape.serialization:
        given = str(shape.serialization["name"])
        return given[0].upper() + given[1:]
    return name


def documented_filters(operation: Any) -> set[str]:
    """The filters that the documentation of an operation lists, without tag:KEY."""
    text = operation.input_shape.members["Filters"].documentation
    found = set()
    for name, rest in _FILTER_OF_ITEM.findall(text):
        found.add(name)
        # "a | b - both at once" documents two in one item
        head = re.split(" - |: ", rest)[0]
        found |= {other for other in _NAME_IN_ITEM.findall(head) if re.fullmatch("[a-z.-]+", other)}
    return {name for name in found if not name.startswith("tag")}
