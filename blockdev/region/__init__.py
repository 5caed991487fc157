"""The parts of a region's control plane; `blockdev.service.Region` puts them together."""
