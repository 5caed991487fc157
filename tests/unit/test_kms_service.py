"""The key service as its users have it: keys, names, states, rotation, deletion."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.errors import (
    CorruptionError,
    InvalidArgumentError,
    KeyDisabledError,
    KeyNotFoundError,
    KeyPendingDeletionError,
    KeyStateError,
)
from objstore.kms import changes
from objstore.kms.errors import AliasExistsError, KeyLimitError
from objstore.kms.model import KeyInfo
from objstore.kms.service import LocalKeyService
from tests.keys import CONTEXT, DAY_NS, MATERIAL, NOWHERE, Keys

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def keys(tmp_path: Path, seed: int) -> Keys:
    return Keys(tmp_path, seed)


@pytest.fixture
def service(keys: Keys) -> LocalKeyService:
    return keys.open()


def test_what_was_wrapped_is_unwrapped(service: LocalKeyService) -> None:
    key = service.create_key("for tests", "alias/mine")
    for name in (key.key_id, key.arn, "alias/mine", key.arn.rpartition(":")[0] + ":alias/mine"):
        sealed = service.wrap(name, MATERIAL, CONTEXT)
        assert len(sealed) == len(MATERIAL) + 53
        assert MATERIAL not in sealed
        assert service.unwrap(sealed, CONTEXT) == MATERIAL
        assert service.resolve(name) == service.key_of(sealed) == key.arn


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_data_of_any_length_is_wrapped(service: LocalKeyService, size: int) -> None:
    sealed = service.wrap("", bytes(size), b"")
    assert service.unwrap(sealed, b"") == bytes(size)


def test_no_two_wrappings_are_alike(service: LocalKeyService) -> None:
    assert len({service.wrap("", MATERIAL, CONTEXT)[21:] for _ in range(100)}) == 100


def test_another_process_unwraps(keys: Keys, service: LocalKeyService) -> None:
    sealed = service.wrap("", MATERIAL, CONTEXT)
    assert keys.open().unwrap(sealed, CONTEXT) == MATERIAL


def test_every_change_to_a_wrapped_key_is_noticed(service: LocalKeyService) -> None:
    sealed = service.wrap("", MATERIAL, CONTEXT)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        # A bit of the name makes it another key's, or another version's.
        expected = KeyNotFoundError if 8 <= bit < 8 * 21 else CorruptionError
        with pytest.raises(expected):
            service.unwrap(bytes(changed), CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(CorruptionError):
            service.unwrap(sealed[:length], CONTEXT)
    with pytest.raises(CorruptionError, match="its context is another"):
        service.unwrap(sealed, b"bucket/other")


def test_the_own_key_is_made_once_and_has_no_name(keys: Keys, service: LocalKeyService) -> None:
    other = keys.open()
    assert service.list_keys() == other.list_keys() == []
    sealed = [service.wrap("", MATERIAL, b""), other.wrap("", MATERIAL, b"")]
    assert sealed[0][:21] == sealed[1][:21]
    (own,) = other.list_keys()
    assert (own.manager, own.aliases, own.state) == ("STORE", (), "Enabled")
    for name in ("", own.key_id, own.arn):
        with pytest.raises(KeyNotFoundError):
            service.resolve(name)
    with pytest.raises(KeyNotFoundError):
        service.key_of(sealed[0])
    # Who manages the store may look at it and rotate it.
    assert service.describe(own.key_id) == own
    service.rotate(own.key_id)
    again = service.wrap("", MATERIAL, b"")
    assert again[:21] != sealed[0][:21]
    for one in (*sealed, again):
        assert other.unwrap(one, b"") == MATERIAL


def test_the_key_of_s3_is_made_at_first_use(keys: Keys, service: LocalKeyService) -> None:
    arn = service.resolve("alias/aws/s3")
    assert keys.open().resolve("alias/aws/s3") == arn
    (made,) = service.list_keys()
    assert (made.manager, made.aliases, made.rotation_days) == ("AWS", ("alias/aws/s3",), 365)
    assert service.unwrap(keys.open().wrap("alias/aws/s3", MATERIAL, b""), b"") == MATERIAL
    for refused in (service.disable, service.schedule_deletion):
        with pytest.raises(KeyStateError, match="managed by the service"):
            refused("alias/aws/s3")
    with pytest.raises(KeyStateError, match="managed by the service"):
        service.set_rotation(arn, 0)
    with pytest.raises(KeyStateError, match="managed by the service"):
        service.create_alias("alias/mine", arn)
    with pytest.raises(KeyStateError, match="not for anybody to remove"):
        service.delete_alias("alias/aws/s3")


def test_two_that_need_a_first_key_at_once_get_the_same(keys: Keys) -> None:
    one, other = keys.open(), keys.open()
    # Both know of no key, since neither has looked since the other made it.
    with pytest.MonkeyPatch.context() as patch:
        stale = other._keeper.current()
        one.wrap("", MATERIAL, b"")
        one.resolve("alias/aws/s3")
        patch.setattr(other._keeper, "current", lambda: stale)
        other.wrap("", MATERIAL, b"")
        other.wrap("alias/aws/s3", MATERIAL, b"")
    assert len(one.list_keys()) == 2


def test_arns_name_the_region_and_the_account(keys: Keys) -> None:
    assert re.fullmatch(f"arn:aws:kms:us-east-1:0{{12}}:key/{UUID}", keys.open().create_key().arn)
    elsewhere = keys.open(region="eu-west-1", account="123456789012")
    made = elsewhere.create_key()
    assert made.arn == f"arn:aws:kms:eu-west-1:123456789012:key/{made.key_id}"
    # What was made elsewhere keeps its name.
    assert keys.open().resolve(made.arn) == made.arn


@pytest.mark.parametrize(
    "name",
    ["nonsense", NOWHERE, "alias/none", f"arn:aws:kms:us-east-1:000000000000:key/{NOWHERE}"],
)
def test_what_does_not_exist_is_said_so_and_leaves_nothing(
    keys: Keys, service: LocalKeyService, name: str
) -> None:
    calls: list[Callable[[str], object]] = [
        *(service.resolve, service.describe, service.enable, service.disable, service.rotate),
        *(service.schedule_deletion, service.cancel_deletion, service.delete_alias),
        lambda name: service.wrap(name, MATERIAL, b""),
        lambda name: service.set_rotation(name, 365),
        lambda name: service.create_alias("alias/mine", name),
    ]
    for call in calls:
        with pytest.raises(KeyNotFoundError, match="there is no"):
            call(name)
    assert not keys.folder.exists()


def test_an_empty_name_is_none(service: LocalKeyService) -> None:
    service.wrap("", MATERIAL, b"")
    for call in (service.resolve, service.describe, service.rotate):
        with pytest.raises(KeyNotFoundError):
            call("")


def test_what_another_store_wrapped_is_not_found(
    tmp_path: Path, service: LocalKeyService, seed: int
) -> None:
    foreign = Keys(tmp_path / "other", seed + 1000).open().wrap("", MATERIAL, b"")
    with pytest.raises(KeyNotFoundError):
        service.unwrap(foreign, b"")
    service.wrap("", MATERIAL, b"")
    with pytest.raises(KeyNotFoundError):
        service.unwrap(foreign, b"")


def test_a_disabled_key_does_nothing_until_it_is_enabled(
    keys: Keys, service: LocalKeyService
) -> None:
    other = keys.open()
    key = service.create_key()
    sealed = other.wrap(key.arn, MATERIAL, b"")
    assert service.disable(key.key_id).state == "Disabled"
    for call in (
        lambda: other.wrap(key.arn, MATERIAL, b""),
        lambda: other.unwrap(sealed, b""),
        lambda: other.rotate(key.arn),
        lambda: other.set_rotation(key.arn, 365),
    ):
        with pytest.raises(KeyDisabledError, match="is disabled"):
            call()
    assert other.resolve(key.key_id) == key.arn
    assert other.enable(key.arn) == key
    assert service.unwrap(sealed, b"") == MATERIAL


def test_rotation_by_hand(keys: Keys, service: LocalKeyService) -> None:
    key = service.create_key()
    sealed = []
    for version in range(1, 5):
        sealed.append(service.wrap(key.arn, MATERIAL, b""))
        keys.clock.advance(DAY_NS)
        rotated = service.rotate(key.key_id)
        assert rotated.versions == version + 1
        assert rotated.rotated_ms == key.created_ms + version * 86_400_000
    assert len({one[:21] for one in sealed}) == 4
    for other in (service, keys.open()):
        assert [other.unwrap(one, b"") for one in sealed] == [MATERIAL] * 4


def test_rotation_by_the_clock(keys: Keys, service: LocalKeyService) -> None:
    key = service.create_key()
    assert service.set_rotation(key.arn, 90).rotation_days == 90
    before = service.wrap(key.arn, MATERIAL, b"")
    keys.clock.advance(90 * DAY_NS - 1_000_000)
    assert service.wrap(key.arn, MATERIAL, b"")[:21] == before[:21]
    keys.clock.advance(1_000_000)
    after = service.wrap(key.arn, MATERIAL, b"")
    assert after[:21] != before[:21]
    assert service.describe(key.arn).versions == 2
    keys.clock.advance(1000 * DAY_NS)  # nobody looked: once, not eleven times
    assert keys.open().describe(key.arn).versions == 3
    assert service.set_rotation(key.arn, 0).next_rotation_ms == 0
    keys.clock.advance(1000 * DAY_NS)
    assert service.describe(key.arn).versions == 3
    assert [service.unwrap(one, b"") for one in (before, after)] == [MATERIAL] * 2


def test_a_disabled_key_rotates_when_it_is_enabled(keys: Keys, service: LocalKeyService) -> None:
    key = service.create_key()
    service.set_rotation(key.arn, 365)
    service.disable(key.arn)
    keys.clock.advance(400 * DAY_NS)
    assert service.describe(key.arn).versions == 1
    service.enable(key.arn)
    assert service.describe(key.arn).versions == 2


@pytest.mark.parametrize("days", [-1, 1, 89, 2561])
def test_periods_that_kms_does_not_have(service: LocalKeyService, days: int) -> None:
    key = service.create_key()
    with pytest.raises(InvalidArgumentError, match="every 90 to 2560 days"):
        service.set_rotation(key.arn, days)


def test_deletion_waits_and_can_be_cancelled(keys: Keys, service: LocalKeyService) -> None:
    key = service.create_key(alias="alias/mine")
    sealed = service.wrap(key.arn, MATERIAL, b"")
    planned = service.schedule_deletion("alias/mine", 7)
    assert planned.state == "PendingDeletion"
    assert planned.deletion_ms == key.created_ms + 7 * 86_400_000
    for call in (
        lambda: service.wrap(key.arn, MATERIAL, b""),
        lambda: service.unwrap(sealed, b""),
        lambda: service.enable(key.arn),
        lambda: service.disable(key.arn),
        lambda: service.rotate(key.arn),
        lambda: service.schedule_deletion(key.arn),
        lambda: service.create_alias("alias/another", key.arn),
    ):
        with pytest.raises(KeyPendingDeletionError, match="is pending deletion"):
            call()
    keys.clock.advance(7 * DAY_NS - 1_000_000)
    cancelled = service.cancel_deletion(key.arn)
    assert (cancelled.state, cancelled.deletion_ms) == ("Disabled", 0)
    with pytest.raises(KeyStateError, match="is not planned: it is Disabled"):
        service.cancel_deletion(key.arn)
    service.enable(key.arn)
    keys.clock.advance(30 * DAY_NS)
    assert service.unwrap(sealed, b"") == MATERIAL


def test_a_key_whose_time_has_come_is_gone_for_good(keys: Keys, service: LocalKeyService) -> None:
    key, kept = service.create_key(alias="alias/mine"), service.create_key()
    sealed = service.wrap(key.arn, MATERIAL, b"")
    kept_sealed = service.wrap(kept.arn, MATERIAL, b"")
    held = keys.open()
    held.unwrap(sealed, b"")
    service.schedule_deletion(key.arn, 30)
    keys.clock.advance(30 * DAY_NS)
    for other in (held, service, keys.open()):
        with pytest.raises(KeyNotFoundError):
            other.unwrap(sealed, b"")
        assert [info.key_id for info in other.list_keys()] == [kept.key_id]
        assert other.list_aliases() == []
        assert other.unwrap(kept_sealed, b"") == MATERIAL
    assert key.key_id.encode() not in keys.file.read_bytes()


@pytest.mark.parametrize("days", [-1, 0, 6, 31])
def test_deletion_takes_7_to_30_days(service: LocalKeyService, days: int) -> None:
    key = service.create_key()
    with pytest.raises(InvalidArgumentError, match="for 7 to 30 days"):
        service.schedule_deletion(key.arn, days)


def test_aliases(keys: Keys, service: LocalKeyService) -> None:
    one, other = service.create_key(), service.create_key()
    service.create_alias("alias/b", one.key_id)
    keys.clock.advance(1_000_000)
    service.create_alias("alias/a/b_c-D9", one.arn)
    with pytest.raises(AliasExistsError, match="alias/b names a key already"):
        service.create_alias("alias/b", other.key_id)
    with pytest.raises(AliasExistsError):
        service.create_key(alias="alias/b")
    assert len(service.list_keys()) == 2
    assert service.describe("alias/b").aliases == ("alias/a/b_c-D9", "alias/b")
    listed = keys.open().list_aliases()
    assert [(alias.name, alias.key_id) for alias in listed] == [
        ("alias/a/b_c-D9", one.key_id),
        ("alias/b", one.key_id),
    ]
    assert listed[1].arn == "arn:aws:kms:us-east-1:000000000000:alias/b"
    assert listed[0].created_ms == listed[1].created_ms + 1
    service.delete_alias("alias/b")
    service.create_alias("alias/b", other.key_id)
    assert keys.open().resolve("alias/b") == other.arn


@pytest.mark.parametrize(
    "alias", ["mine", "alias/", "alias/a b", "alias/aws/mine", "alias/" + "a" * 251, "ALIAS/a"]
)
def test_what_is_no_alias(service: LocalKeyService, alias: str) -> None:
    key = service.create_key()
    with pytest.raises(InvalidArgumentError, match="is not an alias"):
        service.create_alias(alias, key.key_id)
    with pytest.raises(InvalidArgumentError, match="is not an alias"):
        service.create_key(alias=alias)


def test_descriptions_have_their_limit(service: LocalKeyService) -> None:
    assert service.create_key("ä" * 8192).description == "ä" * 8192
    with pytest.raises(InvalidArgumentError, match="8192 characters at most"):
        service.create_key("a" * 8193)


def test_keys_aliases_and_versions_are_bounded(
    service: LocalKeyService, monkeypatch: pytest.MonkeyPatch, keys: Keys
) -> None:
    monkeypatch.setattr(changes, "MAX_KEYS", 2)
    monkeypatch.setattr(changes, "MAX_ALIASES", 1)
    monkeypatch.setattr(changes, "MAX_KEY_VERSIONS", 2)
    key, _ = service.create_key(alias="alias/a"), service.create_key()
    with pytest.raises(KeyLimitError, match="2 keys already"):
        service.create_key()
    with pytest.raises(KeyLimitError, match="1 aliases already"):
        service.create_alias("alias/b", key.key_id)
    service.rotate(key.key_id)
    with pytest.raises(KeyLimitError, match="2 versions already"):
        service.rotate(key.key_id)
    # By the clock, a full key goes on as it is.
    service.set_rotation(key.key_id, 90)
    keys.clock.advance(100 * DAY_NS)
    assert service.describe(key.key_id).versions == 2
    assert service.unwrap(service.wrap(key.key_id, MATERIAL, b""), b"") == MATERIAL


def test_what_is_told_of_a_key_holds_no_key(service: LocalKeyService) -> None:
    info: KeyInfo = service.create_key("text")
    sealed = service.wrap(info.arn, MATERIAL, b"")
    service.unwrap(sealed, b"")
    ring = service._keeper.current()
    materials = list(ring.materials.values())
    assert materials
    shown = "".join(map(repr, (info, service, ring, ring.file, *ring.wrappers.values())))
    for material in materials:
        assert repr(material)[2:-1] not in shown
        assert material.hex() not in shown


def test_a_closed_service_opens_again(service: LocalKeyService) -> None:
    sealed = service.wrap("", MATERIAL, b"")
    service.close()
    service.close()
    assert service.unwrap(sealed, b"") == MATERIAL
