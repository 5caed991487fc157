"""Instances: run, describe, reboot, stop, start, terminate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from blockdev.model import Instance
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import combination, invalid_value, missing, unsupported
from objstore.ec2.operations.common import DRY_RUN, RETURN, instant_key, specified_tags
from objstore.ec2.operations.instance_filters import FILTERS, STATUS_FILTERS
from objstore.ec2.operations.instance_trees import (
    reservation_tree,
    state_tree,
    status_tree,
)
from objstore.ec2.operations.run import RUN_MEMBERS, mapping_of
from objstore.ec2.operations.volumes import zone_parameter
from objstore.ec2.parameters import BOOLEAN, IGNORED, INSTANCE_IDS
from objstore.ec2.xml import Tree


def run_instances(job: Job) -> Tree:
    """RunInstances.  As nothing here runs out, MaxCount of them are started."""
    given, region = job.parameters, job.region
    least, most = given.number("MinCount") or 0, given.number("MaxCount") or 0
    if least < 1:
        raise invalid_value(least, "MinCount", "It must be at least 1.")
    if most < least:
        raise combination("MaxCount must not be less than MinCount")
    if not given.text("ImageId"):
        raise missing("ImageId")
    tags = specified_tags(given, "instance", "volume")
    made = region.run_instances(
        image_id=given.text("ImageId"),
        instance_type=given.text("InstanceType") or "m5.large",
        count=most,
        zone=zone_parameter(job, given.struct("Placement")),
        mappings=[mapping_of(job, entry) for entry in given.structs("BlockDeviceMapping")],
        tags=tags.get("instance", {}),
        volume_tags=tags.get("volume", {}),
        client_token=given.text("ClientToken"),
    )
    return reservation_tree(region.account_id, made)


def describe_instances(job: Job) -> Tree:
    """DescribeInstances: by reservation, as they were run."""
    given, account = job.parameters, job.region.account_id
    pages.refuse_with_ids(given, "InstanceId")
    found = job.region.describe_instances(given.texts("InstanceId"))
    table = {**FILTERS, "owner-id": lambda i: account}
    chosen = filters.select(given, found, table, tags_of)
    shown, token = pages.page("DescribeInstances", given, job.sealer, chosen, instance_key)
    grouped: dict[str, list[Instance]] = {}
    for instance in shown:
        grouped.setdefault(instance.reservation_id, []).append(instance)
    listed = [reservation_tree(account, members) for members in grouped.values()]
    return {"reservationSet": listed, "nextToken": token}


def describe_status(job: Job) -> Tree:
    """DescribeInstanceStatus: of those that run, unless all are asked for."""
    given = job.parameters
    pages.refuse_with_ids(given, "InstanceId")
    found = job.region.describe_instances(given.texts("InstanceId"))
    if not given.flag("IncludeAllInstances"):
        found = [instance for instance in found if instance.state == "running"]
    chosen = filters.select(given, found, STATUS_FILTERS, tags_of)
    shown, token = pages.page("DescribeInstanceStatus", given, job.sealer, chosen, instance_key)
    return {"instanceStatusSet": [status_tree(one) for one in shown], "nextToken": token}


def reboot_instances(job: Job) -> Tree:
    """RebootInstances."""
    job.region.reboot_instances(job.parameters.texts("InstanceId"))
    return RETURN


def stop_instances(job: Job) -> Tree:
    """StopInstances."""
    if job.parameters.flag("Hibernate"):
        raise unsupported("Hibernation")
    return _changes(job, job.region.stop_instances)


def start_instances(job: Job) -> Tree:
    """StartInstances."""
    return _changes(job, job.region.start_instances)


def terminate_instances(job: Job) -> Tree:
    """TerminateInstances."""
    return _changes(job, job.region.terminate_instances)


def _changes(job: Job, verb: Callable[[Sequence[str]], list[tuple[Instance, str]]]) -> Tree:
    changed = verb(job.parameters.texts("InstanceId"))
    listed: list[Tree] = [
        {
            "instanceId": instance.instance_id,
            "currentState": state_tree(instance.state),
            "previousState": state_tree(previous),
        }
        for instance, previous in changed
    ]
    return {"instancesSet": listed}


def tags_of(instance: Instance) -> Mapping[str, str]:
    """For the filters on tags."""
    return instance.tags


def instance_key(instance: Instance) -> str:
    """What instances are listed by: those of a reservation together, as they were launched."""
    place = f"{instance.reservation_id} {instance.launch_index:05d}"
    return instant_key(instance.launched_ns, place)


_IDS: Final = ("InstanceId",)

ACTIONS: Final[tuple[Action, ...]] = (
    action("RunInstances", run_instances, RUN_MEMBERS, required=("MaxCount", "MinCount")),
    action(
        "DescribeInstances",
        describe_instances,
        {
            "InstanceId": INSTANCE_IDS,
            "IncludeManagedResources": IGNORED,
            **filters.MEMBERS,
            **pages.MEMBERS,
            **DRY_RUN,
        },
        filters={**FILTERS, "owner-id": None},
    ),
    action(
        "DescribeInstanceStatus",
        describe_status,
        {
            "InstanceId": INSTANCE_IDS,
            "IncludeManagedResources": IGNORED,
            "IncludeAllInstances": BOOLEAN,
            **filters.MEMBERS,
            **pages.MEMBERS,
            **DRY_RUN,
        },
        filters=STATUS_FILTERS,
    ),
    action(
        "RebootInstances", reboot_instances, {"InstanceId": INSTANCE_IDS, **DRY_RUN}, required=_IDS
    ),
    action(
        "StopInstances",
        stop_instances,
        {
            "InstanceId": INSTANCE_IDS,
            "Hibernate": BOOLEAN,
            # No operating system runs that could be asked to shut down, or not be asked.
            "SkipOsShutdown": IGNORED,
            "Force": IGNORED,
            **DRY_RUN,
        },
        required=_IDS,
    ),
    action(
        "StartInstances",
        start_instances,
        {"InstanceId": INSTANCE_IDS, "AdditionalInfo": IGNORED, **DRY_RUN},
        required=_IDS,
    ),
    action(
        "TerminateInstances",
        terminate_instances,
        {"InstanceId": INSTANCE_IDS, "Force": IGNORED, "SkipOsShutdown": IGNORED, **DRY_RUN},
        required=_IDS,
    ),
)
