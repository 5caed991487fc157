"""The key service's files: made when needed, whole or not at all, and damage told of."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import xxhash

from objstore.entropy import SeededEntropy
from objstore.errors import KeyNotFoundError, KeyServiceError, StoreLockedError
from objstore.kms import files, keeper, keyfile
from objstore.kms import folder as folder_module
from objstore.kms.errors import KeyLimitError
from objstore.kms.keyfile import KeyFile, decode, encode
from objstore.kms.model import Document
from objstore.kms.root import RootFile, RootKey
from objstore.kms.service import LocalKeyService
from tests.keys import MATERIAL, NOWHERE, Keys


@pytest.fixture
def keys(tmp_path: Path, seed: int) -> Keys:
    return Keys(tmp_path, seed)


@pytest.fixture
def service(keys: Keys) -> LocalKeyService:
    return keys.open()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_reading_makes_nothing(keys: Keys, service: LocalKeyService) -> None:
    assert not service.list_keys()
    assert not service.list_aliases()
    assert not keys.folder.exists()


def test_files_are_their_owners_alone(keys: Keys, service: LocalKeyService) -> None:
    service.create_key()
    assert mode(keys.folder) == 0o700
    assert {path.name: mode(path) for path in keys.folder.iterdir()} == {
        "keys": 0o600,
        "lock": 0o600,
        "root.key": 0o600,
    }
    assert len(keys.root.read_bytes()) == 32


def test_the_root_key_may_be_anywhere(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "stick" / "deep" / "my.key"
    keys = Keys(tmp_path, seed, root)
    sealed = keys.open().wrap("", MATERIAL, b"")
    assert (mode(root), len(root.read_bytes())) == (0o600, 32)
    assert sorted(path.name for path in keys.folder.iterdir()) == ["keys", "lock"]
    assert keys.open().unwrap(sealed, b"") == MATERIAL


def test_a_root_key_that_is_there_is_taken(keys: Keys, service: LocalKeyService) -> None:
    keys.folder.mkdir()
    keys.root.write_bytes(bytes(32))
    keys.root.chmod(0o600)
    service.create_key()
    assert keys.root.read_bytes() == bytes(32)
    assert keys.file.read_bytes()[16:24] == RootKey(bytes(32)).id


def test_a_root_key_behind_links(tmp_path: Path, seed: int) -> None:
    """As a mounted secret is, also before there is a key at the link's end."""
    link, real = tmp_path / "root", tmp_path / "real" / "key"
    link.symlink_to(real)
    keys = Keys(tmp_path, seed, link)
    service = keys.open()
    sealed = service.wrap("", MATERIAL, b"")
    before = real.read_bytes()
    service.rotate_root()
    assert link.is_symlink()
    assert (len(real.read_bytes()), real.read_bytes() == before) == (32, False)
    assert keys.open().unwrap(sealed, b"") == MATERIAL


def test_a_root_key_that_others_can_read_is_told_of(
    keys: Keys, service: LocalKeyService, caplog: pytest.LogCaptureFixture
) -> None:
    service.create_key()
    keys.root.chmod(0o644)
    with caplog.at_level(logging.WARNING, "objstore.kms"):
        keys.open().list_keys()
    assert "others than its owner may use the root key" in caplog.text
    assert keys.root.read_bytes().hex() not in caplog.text


def refused(service: LocalKeyService, sealed: bytes) -> str:
    """Nothing works; what it is told by."""
    told = set()
    for call in (
        lambda: service.unwrap(sealed, b""),
        lambda: service.wrap("", MATERIAL, b""),
        lambda: service.wrap("alias/aws/s3", MATERIAL, b""),
        service.list_keys,
        service.create_key,
        service.rotate_root,
    ):
        with pytest.raises(KeyServiceError) as caught:
            call()
        told.add(str(caught.value))
    (text,) = told
    return text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "no root key in"),
        (b"", "holds no root key"),
        (bytes(31), "holds no root key"),
        (bytes(33), "holds no root key"),
        (bytes(65), "holds no root key"),
        (bytes(96), "holds no root key"),
        (bytes(32), "another root key in"),
        (bytes(64), "another root key in"),
    ],
)
def test_a_root_key_that_is_missing_or_damaged_is_never_made_anew(
    keys: Keys, service: LocalKeyService, content: bytes | None, text: str
) -> None:
    sealed = service.wrap("", MATERIAL, b"")
    root, file = keys.root.read_bytes(), keys.file.read_bytes()
    keys.root.unlink()
    if content is not None:
        keys.root.write_bytes(content)
    told = refused(keys.open(), sealed)
    assert text in told
    assert str(keys.root) in told
    assert (keys.root.read_bytes() if keys.root.exists() else None) == content
    assert keys.file.read_bytes() == file
    # What is in memory goes on; and nothing has to be restarted when the key is back.
    assert service.unwrap(sealed, b"") == MATERIAL
    late = keys.open()
    with pytest.raises(KeyServiceError):
        late.unwrap(sealed, b"")
    keys.root.write_bytes(root)
    assert late.unwrap(sealed, b"") == MATERIAL


def test_any_bit_of_the_root_key_counts(keys: Keys, service: LocalKeyService) -> None:
    service.create_key()
    root = keys.root.read_bytes()
    for bit in range(256):
        changed = bytearray(root)
        changed[bit // 8] ^= 1 << bit % 8
        keys.root.write_bytes(changed)
        with pytest.raises(KeyServiceError, match="another root key"):
            keys.open().list_keys()


def test_any_bit_of_the_key_file_counts(keys: Keys, service: LocalKeyService) -> None:
    service.create_key()
    data, root = keys.file.read_bytes(), [keys.root.read_bytes()]
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyServiceError, match=r"is damaged|is not a key file"):
            decode(bytes(changed), root, "keys", "root.key")
    for length in range(len(data)):
        with pytest.raises(KeyServiceError, match=r"is damaged|is not a key file"):
            decode(data[:length], root, "keys", "root.key")
    assert len(decode(data, root, "keys", "root.key").document.keys) == 1


def test_a_damaged_key_file_stays_as_it_is(keys: Keys, service: LocalKeyService) -> None:
    sealed = service.wrap("", MATERIAL, b"")
    data = keys.file.read_bytes()
    for changed in (b"", data[:-1], data[:50] + b"?" + data[51:]):
        keys.file.write_bytes(changed)
        assert str(keys.file) in refused(keys.open(), sealed)
        assert "put back a copy" in refused(service, sealed)
        assert keys.file.read_bytes() == changed
    keys.file.write_bytes(data)
    assert service.unwrap(sealed, b"") == MATERIAL


def checked(data: bytes) -> bytes:
    """With a checksum that holds."""
    return data + keyfile._CHECK.pack(xxhash.xxh3_64_intdigest(data))


def test_who_lacks_the_root_key_cannot_change_the_file(
    keys: Keys, service: LocalKeyService
) -> None:
    key = service.create_key()
    service.disable(key.arn)
    forged = checked(keys.file.read_bytes()[:-8].replace(b'"Disabled"', b'"Enabled" '))
    keys.file.write_bytes(forged)
    with pytest.raises(KeyServiceError, match="changed by somebody without the root key"):
        service.list_keys()


def test_other_formats_and_lengths_are_refused() -> None:
    root = RootKey(bytes(32))
    data = encode(KeyFile(Document(), root, 0))[:-8]
    newer = checked(data[:8] + b"\x02" + data[9:])
    with pytest.raises(KeyServiceError, match="has format 2, known is 1"):
        decode(newer, [bytes(32)], "keys", "root.key")
    longer = checked(data[:12] + b"\xff" + data[13:])
    with pytest.raises(KeyServiceError, match="not as long as it says"):
        decode(longer, [bytes(32)], "keys", "root.key")


def test_material_belongs_to_its_version(keys: Keys) -> None:
    root = RootKey(bytes(32))
    wrapped = root.wrap(MATERIAL, NOWHERE, 1, SeededEntropy(1))
    assert len(wrapped) == 60
    assert root.unwrap(wrapped, NOWHERE, 1) == MATERIAL
    assert repr(root) == f"RootKey({root.id.hex()})"
    for damaged, number in ((wrapped, 2), (wrapped[:-1], 1), (b"", 1)):
        with pytest.raises(KeyServiceError, match="was not wrapped under root key"):
            root.unwrap(damaged, NOWHERE, number)


def test_a_change_by_another_process_is_seen_at_once(keys: Keys) -> None:
    one, other = keys.open(), keys.open()
    for round_ in range(20):
        made = one.create_key(str(round_))
        assert other.describe(made.key_id) == made
        other.disable(made.key_id)
        assert one.describe(made.key_id).state == "Disabled"
        one, other = other, one
    assert len(one.list_keys()) == 20


def test_a_copy_put_back_in_place_is_seen(keys: Keys, service: LocalKeyService) -> None:
    first = service.create_key()
    copy = keys.file.read_bytes()
    second = service.create_key()
    keys.file.write_bytes(copy)
    assert service.list_keys() == [first]
    keys.file.unlink()
    with pytest.raises(KeyNotFoundError):
        service.describe(second.key_id)


CREATE = """
import sys
from pathlib import Path
from blockdev.clock import SystemClock
from objstore.entropy import SystemEntropy
from objstore.kms.service import LocalKeyService
service = LocalKeyService(Path(sys.argv[1]), SystemClock(), SystemEntropy())
sealed = service.wrap("", b"data key", b"")
for number in range(10):
    service.create_key(f"{sys.argv[2]}-{number}")
print(sealed.hex())
"""


def test_processes_share_the_folder_from_the_first_key_on(keys: Keys) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, str(keys.folder), str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    service = keys.open()
    assert len(service.list_keys()) == 41
    for output in outputs:
        assert service.unwrap(bytes.fromhex(output), b"") == b"data key"


def test_threads_share_a_service(keys: Keys, service: LocalKeyService) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                key = service.create_key()
                service.rotate(key.arn)
                sealed = service.wrap(key.arn, MATERIAL, b"")
                assert service.unwrap(sealed, b"") == MATERIAL
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(keys.open().list_keys()) == 40


def test_a_lock_that_nobody_lets_go_of_is_told_of(keys: Keys, service: LocalKeyService) -> None:
    service.create_key()
    descriptor = os.open(keys.folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreLockedError, match="for a minute"):
            service.create_key()
        assert keys.clock.monotonic_ns() >= 60 * 10**9
        assert len(service.list_keys()) == 1  # what is loaded needs no lock
    finally:
        os.close(descriptor)
    service.create_key()


class Failing:
    """`os` with one function that fails."""

    def __init__(self, name: str, error: OSError, path: str = "") -> None:
        self._name, self._error, self._path = name, error, path

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name != self._name:
            return real

        def fail(*arguments: Any, **options: Any) -> Any:
            if self._path in str(arguments[0]):
                raise self._error
            return real(*arguments, **options)

        return fail


def use_all(service: LocalKeyService) -> None:
    """Whatever reads or writes a file; no key is there afterwards that was not before."""
    service.list_keys()
    service.rotate_root()
    service.create_key()


@pytest.mark.parametrize(
    ("module", "name", "path", "text"),
    [
        (files, "fsync", "", "cannot write"),
        (files, "replace", "keys", "cannot write"),
        (files, "replace", "root.key", "cannot write the root key"),
        (folder_module, "stat", "", "cannot use"),
        (folder_module, "open", "keys", "cannot use"),
        (folder_module, "open", "lock", "cannot use"),
    ],
)
def test_what_the_file_system_refuses_is_told_of(
    keys: Keys,
    service: LocalKeyService,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    path: str,
    text: str,
) -> None:
    service.create_key()
    with monkeypatch.context() as patch:
        patch.setattr(module, "os", Failing(name, OSError(28, "No space left on device"), path))
        with pytest.raises(KeyServiceError, match=f"{text} .*: No space left on device"):
            use_all(service)
    assert sorted(path.name for path in keys.folder.iterdir()) == ["keys", "lock", "root.key"]
    assert len(keys.open().list_keys()) == 1


def test_a_root_key_that_cannot_be_read_is_told_of(keys: Keys, service: LocalKeyService) -> None:
    service.create_key()
    keys.root.unlink()
    keys.root.mkdir()
    with pytest.raises(KeyServiceError, match=r"cannot read the root key .*: Is a directory"):
        keys.open().list_keys()


def test_a_root_key_that_cannot_be_made_is_told_of(tmp_path: Path, seed: int) -> None:
    (tmp_path / "file").write_bytes(b"")
    keys = Keys(tmp_path, seed, tmp_path / "file" / "root.key")
    with pytest.raises(KeyServiceError, match=r"cannot (read|write) the root key"):
        keys.open().create_key()
    assert not keys.file.exists()


def test_two_that_make_a_root_key_at_once_have_one(tmp_path: Path, seed: int) -> None:
    root = RootFile(tmp_path / "root.key")
    first = root.make(SeededEntropy(seed))
    assert root.make(SeededEntropy(seed + 1)) == first == root.read()
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


def test_the_key_file_has_a_limit(
    keys: Keys, service: LocalKeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.create_key()
    monkeypatch.setattr(keeper, "MAX_KEY_FILE_BYTES", 1000)
    with pytest.raises(KeyLimitError, match="longer than 1000 bytes"):
        service.create_key("a" * 1000)
    monkeypatch.setattr(folder_module, "MAX_KEY_FILE_BYTES", 10)
    with pytest.raises(KeyServiceError, match="too long for a key file"):
        keys.open().list_keys()
