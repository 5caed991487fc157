"""Regions and availability zones."""

from __future__ import annotations

from typing import Final

from objstore.ec2 import filters
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import Ec2Error, invalid_value
from objstore.ec2.filters import Table, nothing
from objstore.ec2.operations.common import DRY_RUN, zone_id
from objstore.ec2.parameters import IGNORED, STRINGS
from objstore.ec2.xml import Tree

_OPTED: Final = "opt-in-not-required"

ZONE_FILTERS: Final[Table[str]] = {
    "group-long-name": nothing,
    "group-name": lambda zone: f"{zone[:-1]}-zg-1",
    "message": nothing,
    "opt-in-status": lambda zone: _OPTED,
    "parent-zone-id": nothing,
    "parent-zone-name": nothing,
    "region-name": lambda zone: zone[:-1],
    "state": lambda zone: "available",
    "zone-id": zone_id,
    "zone-name": lambda zone: zone,
    "zone-type": lambda zone: "availability-zone",
}
REGION_FILTERS: Final[Table[str]] = {
    "opt-in-status": lambda name: _OPTED,
    "region-name": lambda name: name,
}


def describe_zones(job: Job) -> Tree:
    """DescribeAvailabilityZones."""
    given, zones = job.parameters, list(job.region.zones)
    names, ids = given.texts("ZoneName"), given.texts("ZoneId")
    for name in names:
        if name not in zones:
            raise Ec2Error("InvalidParameterValue", f"Invalid availability zone: [{name}]")
    known = {zone_id(zone) for zone in zones}
    for wanted in ids:
        if wanted not in known:
            raise Ec2Error("InvalidParameterValue", f"Invalid availability zone-id: [{wanted}]")
    named = [z for z in zones if (not names or z in names) and (not ids or zone_id(z) in ids)]
    chosen = filters.select(given, named, ZONE_FILTERS)
    return {"availabilityZoneInfo": [_zone_tree(zone) for zone in chosen]}


def _zone_tree(zone: str) -> Tree:
    region = zone[:-1]
    return {
        "optInStatus": _OPTED,
        "messageSet": [],
        "regionName": region,
        "zoneName": zone,
        "zoneId": zone_id(zone),
        "groupName": f"{region}-zg-1",
        "networkBorderGroup": region,
        "zoneType": "availability-zone",
        "zoneState": "available",
    }


def describe_regions(job: Job) -> Tree:
    """DescribeRegions: the server's own, and those that somebody has used."""
    given, names = job.parameters, job.regions.names()
    wanted = given.texts("RegionName")
    for name in wanted:
        if name not in names:
            raise invalid_value(name, "RegionName", "There is no such region here.")
    table: Table[str] = {**REGION_FILTERS, "endpoint": lambda name: job.endpoint}
    named = [name for name in names if not wanted or name in wanted]
    listed = [
        {"optInStatus": _OPTED, "regionName": name, "regionEndpoint": job.endpoint}
        for name in filters.select(given, named, table)
    ]
    return {"regionInfo": listed}


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "DescribeAvailabilityZones",
        describe_zones,
        {
            "ZoneName": STRINGS,
            "ZoneId": STRINGS,
            "AllAvailabilityZones": IGNORED,
            **filters.MEMBERS,
            **DRY_RUN,
        },
        filters=ZONE_FILTERS,
    ),
    action(
        "DescribeRegions",
        describe_regions,
        {"RegionName": STRINGS, "AllRegions": IGNORED, **filters.MEMBERS, **DRY_RUN},
        filters={**REGION_FILTERS, "endpoint": None},
    ),
)
