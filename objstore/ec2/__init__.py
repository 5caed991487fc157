"""EC2's query API for volumes, snapshots and instances, over `blockdev.service.Region`."""
