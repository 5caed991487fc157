"""docs/ec2-api.md says what the tables say."""

from __future__ import annotations

import re

from bench import ec2_api
from objstore.ebs.table import OPERATIONS
from objstore.ec2.table import ACTIONS


def test_the_page_is_current() -> None:
    page = ec2_api.PAGE.read_text("utf-8")
    assert ec2_api.render(page) == page, "run: python -m bench.ec2_api"


def test_every_action_is_on_the_page() -> None:
    named = set(re.findall(r"^\| (\w+) \|", ec2_api.PAGE.read_text("utf-8"), re.MULTILINE))
    assert named >= set(ACTIONS) | {operation.name for operation in OPERATIONS}


def test_a_change_of_the_tables_shows() -> None:
    page = ec2_api.PAGE.read_text("utf-8")
    assert ec2_api.render(page.replace("| AttachVolume |", "| DetachVolumes |")) == page
