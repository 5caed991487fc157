"""What several families of actions share: tags, attachments, zones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from blockdev.model import Attachment
from objstore.ec2.errors import Ec2Error, invalid_value, missing
from objstore.ec2.parameters import BOOLEAN, STRING, Kind, ListOf, Parameters, Struct
from objstore.ec2.xml import Tree, iso_time

if TYPE_CHECKING:
    from blockdev.service import Region

TAG: Final = Struct({"Key": STRING, "Value": STRING})
TAG_SPECIFICATIONS: Final = ListOf(Struct({"ResourceType": STRING, "Tag": ListOf(TAG)}))
DRY_RUN: Final[dict[str, Kind]] = {"DryRun": BOOLEAN}

RETURN: Final[Tree] = {"return": True}
"""The answer of an action that has none."""

_ZONE_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_DIRECTIONS: Final = {
    "northeast": "ne",
    "northwest": "nw",
    "southeast": "se",
    "southwest": "sw",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
    "central": "c",
    "gov": "g",
}


def read_tags(entries: list[Parameters], name: str = "Tag") -> dict[str, str]:
    """Tags as a mapping; the region knows their limits.

    Raises:
        Ec2Error: MissingParameter, InvalidParameterValue.
    """
    tags: dict[str, str] = {}
    for entry in entries:
        key = entry.text("Key")
        if not key:
            raise missing(f"{name}.Key")
        if key in tags:
            raise invalid_value(key, f"{name}.Key", "Duplicate tag keys are not allowed.")
        tags[key] = entry.text("Value")
    return tags


def specified_tags(parameters: Parameters, *types: str) -> dict[str, dict[str, str]]:
    """The tags of TagSpecification by resource type, of which only `types` are taken.

    Raises:
        Ec2Error: InvalidParameterValue, MissingParameter.
    """
    found: dict[str, dict[str, str]] = {}
    for entry in parameters.structs("TagSpecification"):
        kind = entry.text("ResourceType")
        if not kind:
            raise missing("TagSpecification.ResourceType")
        if kind not in types:
            raise Ec2Error(
                "InvalidParameterValue",
                f"'{kind}' is not a valid taggable resource type for this operation.",
            )
        if kind in found:
            raise Ec2Error(
                "InvalidParameterValue", f"The tag specification for {kind} is given twice"
            )
        found[kind] = read_tags(entry.structs("Tag"))
    return found


def tag_set(tags: Mapping[str, str]) -> list[Tree] | None:
    """Tags as EC2 lists them; no element when there are none."""
    return [{"key": key, "value": value} for key, value in sorted(tags.items())] or None


def attachment_tree(attachment: Attachment) -> Tree:
    """A VolumeAttachment."""
    return {
        "volumeId": attachment.volume_id,
        "instanceId": attachment.instance_id,
        "device": attachment.device,
        "status": attachment.state,
        "attachTime": iso_time(attachment.attached_ns),
        "deleteOnTermination": attachment.delete_on_termination,
    }


def zone_id(zone: str) -> str:
    """The id of a zone, made as AWS makes them: ``us-east-1a`` is ``use1-az1``."""
    region, letter = zone[:-1], zone[-1:]
    country, *parts = region.split("-")
    short = "".join(_DIRECTIONS.get(part, part) for part in parts)
    return f"{country}{short}-az{_ZONE_LETTERS.find(letter) + 1}"


def zone_of_id(region: Region, wanted: str) -> str:
    """The zone with an id.

    Raises:
        Ec2Error: InvalidParameterValue.
    """
    for zone in region.zones:
        if zone_id(zone) == wanted:
            return zone
    raise invalid_value(wanted, "AvailabilityZoneId", "There is no such zone.")


def instant_key(time_ns: int, name: str) -> str:
    """A key to list by: the time first, then the name."""
    return f"{time_ns:020d} {name}"
