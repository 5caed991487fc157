"""The frozen ETags and checksums are what code that is not the server's computes."""

from __future__ import annotations

import base64

import pytest

from tests.clients.digests import DIGESTS
from tests.golden import checksums, etags
from tests.golden.make_etags import computed


def test_they_are_as_computed() -> None:
    values = computed()
    frozen = {name: getattr(etags, name) for name in values}
    assert frozen == values


@pytest.mark.parametrize("name", checksums.DIGESTS)
def test_checksums_as_well(name: str) -> None:
    for label, data in checksums.INPUTS.items():
        value = base64.b64decode(DIGESTS[name](data)).hex()
        assert value == checksums.DIGESTS[name][label], label
