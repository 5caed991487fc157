"""Filters: layers over a device that are devices themselves, one to a file."""

from blockdev.filters.delay import DelayDevice
from blockdev.filters.fault import ArmedFault, Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.metrics import MetricsDevice, MetricsSnapshot, OperationMetrics
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.filters.record import RecordDevice
from blockdev.filters.throttle import Budget, ThrottleDevice

__all__ = [
    "ArmedFault",
    "Budget",
    "DelayDevice",
    "Fault",
    "FaultDevice",
    "FaultRule",
    "MetricsDevice",
    "MetricsSnapshot",
    "Operation",
    "OperationMetrics",
    "Passthrough",
    "PowerLossDevice",
    "RecordDevice",
    "ThrottleDevice",
]
