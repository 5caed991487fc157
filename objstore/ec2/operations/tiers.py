"""The archive tier of snapshots."""

from __future__ import annotations

from typing import Final

from objstore.ec2.action import Action

ACTIONS: Final[tuple[Action, ...]] = ()
