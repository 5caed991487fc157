"""The tables of EC2's actions against botocore's model: every parameter, every filter."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.ec2.face import known_actions
from objstore.ec2.operations.instance_filters import FILTERS as INSTANCE_FILTERS
from objstore.ec2.parameters import Ignored, Kind, ListOf, Refused, Scalar, Struct
from objstore.ec2.table import ACTIONS, FAMILIES
from tests.unit.ec2_model import documented_filters, query_name, service_model

MODEL = service_model()
SCALARS = {
    "string": "string",
    "integer": "integer",
    "boolean": "boolean",
    "long": "integer",
}


def compare(kind: Kind, shape: Any, path: str) -> None:
    """Fail unless `kind` says of a parameter what its shape does."""
    if isinstance(kind, Ignored | Refused):
        return
    if isinstance(kind, Scalar):
        assert kind.kind == SCALARS[shape.type_name], path
        assert set(kind.enum) <= set(getattr(shape, "enum", ())), path
    elif isinstance(kind, ListOf):
        assert shape.type_name == "list", path
        compare(kind.item, shape.member, f"{path}.N")
    else:
        assert isinstance(kind, Struct)
        assert shape.type_name == "structure", path
        members = {query_name(name, member): member for name, member in shape.members.items()}
        assert kind.members.keys() == members.keys(), path
        required = {query_name(name, shape.members[name]) for name in shape.required_members}
        assert set(kind.required) == required, path
        for name, member in members.items():
            compare(kind.members[name], member, f"{path}.{name}")


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_parameter_is_in_the_table_as_the_model_has_it(name: str) -> None:
    operation = MODEL.operation_model(name)
    compare(ACTIONS[name].table, operation.input_shape, name)


@pytest.mark.parametrize("name", sorted(name for name, row in ACTIONS.items() if row.filters))
def test_every_documented_filter_is_known(name: str) -> None:
    missing = documented_filters(MODEL.operation_model(name)) - set(ACTIONS[name].filters)
    # One name of a filter, where the documentation joins two
    assert missing <= {"reachability"}


def test_all_actions_that_take_filters_have_some() -> None:
    for name, row in ACTIONS.items():
        assert bool(row.filters) == ("Filter" in row.table.members), name


def test_the_parser_of_the_documentation_finds_filters() -> None:
    found = documented_filters(MODEL.operation_model("DescribeInstances"))
    assert len(found) > 120
    assert {"vpc-id", "instance-state-name", "network-interface.tag-key"} <= found
    assert found <= set(INSTANCE_FILTERS) | {"owner-id"}


def test_names_of_actions_are_the_models() -> None:
    """AWS adds some every month; ``python -m bench.ec2_api`` writes the file anew."""
    names = set(MODEL.operation_names)
    assert set(ACTIONS) <= known_actions() <= names
    assert len(names - known_actions()) < 100


def test_every_action_is_in_one_family() -> None:
    names = [row.name for family in FAMILIES.values() for row in family]
    assert len(names) == len(set(names)) == len(ACTIONS)
