"""Identities: what can be made, what is refused, and what a change leaves behind."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.cli import main
from objstore.iam import Directory
from objstore.iam.errors import (
    DeleteConflictError,
    DirectoryError,
    EntityAlreadyExistsError,
    IamError,
    InvalidInputError,
    LimitExceededError,
    MalformedPolicyDocumentError,
    NoSuchEntityError,
    UnmodifiableEntityError,
)
from objstore.iam.names import GROUP, ROLE, USER
from tests.directories import MAIN, READ, Directories, document, trust


@pytest.fixture
def directories(tmp_path: Path, seed: int) -> Directories:
    return Directories(tmp_path, seed)


@pytest.fixture
def iam(directories: Directories) -> Iterator[Directory]:
    found = directories.open()
    yield found
    assert found.check() == []
    found.close()


def test_nothing_is_made_before_something_is_kept(iam: Directory, tmp_path: Path) -> None:
    assert iam.generation() is None
    assert [account.account_id for account in iam.accounts()] == [MAIN]
    assert iam.entities(MAIN, USER) == []
    assert iam.secret_of("AKIA") is None
    assert iam.session("ASIA") is None
    assert not (tmp_path / "iam").exists()


def test_only_its_owner_reads_the_database(iam: Directory, tmp_path: Path) -> None:
    iam.create_key(MAIN, "")
    assert stat.S_IMODE((tmp_path / "iam").stat().st_mode) == 0o700
    for path in (tmp_path / "iam").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_accounts(iam: Directory) -> None:
    made = iam.create_account("shop", account_id="111122223333", email="shop@example.com")
    assert (made.display_name, len(made.canonical_id)) == ("shop", 64)
    assert iam.account("111122223333") == iam.account_of(made.canonical_id) == made
    other = iam.create_account("other")
    assert len(other.account_id) == 12
    ids = [account.account_id for account in iam.accounts()]
    assert ids == sorted([MAIN, made.account_id, other.account_id])
    for name, account_id in (("SHOP", ""), ("x", "111122223333"), ("x", MAIN)):
        with pytest.raises(EntityAlreadyExistsError):
            iam.create_account(name, account_id=account_id)
    for name, account_id in (("", ""), ("x", "12"), ("x" * 129, "")):
        with pytest.raises(InvalidInputError):
            iam.create_account(name, account_id=account_id)
    with pytest.raises(NoSuchEntityError):
        iam.account("9" * 12)
    with pytest.raises(NoSuchEntityError):
        iam.account_of("f" * 64)


def test_users(iam: Directory, directories: Directories) -> None:
    ann = iam.create(MAIN, USER, "ann", path="/team/", tags={"a": "b"})
    assert ann.arn == f"arn:aws:iam::{MAIN}:user/team/ann"
    assert (ann.entity_id[:4], len(ann.entity_id)) == ("AIDA", 21)
    assert ann.created_ms == directories.clock.now_ns() // 10**6
    assert iam.get(MAIN, USER, "ANN") == ann
    with pytest.raises(EntityAlreadyExistsError):
        iam.create(MAIN, USER, "Ann")
    iam.create_account("other", account_id="111122223333")
    assert iam.create("111122223333", USER, "ann").entity_id != ann.entity_id
    iam.create(MAIN, USER, "bob")
    assert [user.name for user in iam.entities(MAIN, USER)] == ["ann", "bob"]
    assert [user.name for user in iam.entities(MAIN, USER, path_prefix="/team/")] == ["ann"]
    assert [user.name for user in iam.entities(MAIN, USER, after="ann", limit=1)] == ["bob"]
    iam.tag(MAIN, USER, "ann", {"a": "c", "d": ""})
    iam.untag(MAIN, USER, "ann", ["a", "never"])
    assert iam.get(MAIN, USER, "ann").tags == {"d": ""}
    iam.update(MAIN, USER, "ann", new_name="anna", new_path="/")
    assert iam.get(MAIN, USER, "anna").entity_id == ann.entity_id
    with pytest.raises(EntityAlreadyExistsError):
        iam.update(MAIN, USER, "anna", new_name="bob")
    iam.delete(MAIN, USER, "anna")
    for missing in ("ann", "anna", ""):
        with pytest.raises(NoSuchEntityError):
            iam.get(MAIN, USER, missing)


@pytest.mark.parametrize(
    "make",
    [
        lambda iam: iam.create(MAIN, USER, ""),
        lambda iam: iam.create(MAIN, USER, "a b"),
        lambda iam: iam.create(MAIN, USER, "é"),
        lambda iam: iam.create(MAIN, USER, "x" * 65),
        lambda iam: iam.create(MAIN, USER, "x", path="no"),
        lambda iam: iam.create(MAIN, USER, "x", path="/a b/"),
        lambda iam: iam.create(MAIN, USER, "x", path="/" + "a" * 511 + "/"),
        lambda iam: iam.create(MAIN, USER, "x", tags={"aws:x": ""}),
        lambda iam: iam.create(MAIN, USER, "x", tags={"": ""}),
        lambda iam: iam.create(MAIN, USER, "x", tags={"x": "v" * 257}),
        lambda iam: iam.create(MAIN, USER, "x", tags={"x": "\x00"}),
        lambda iam: iam.create(MAIN, USER, "x", tags={str(n): "" for n in range(51)}),
        lambda iam: iam.create("9" * 12, USER, "x"),
        lambda iam: iam.create(MAIN, USER, "x", boundary="arn:aws:iam::aws:policy/Nothing"),
        lambda iam: iam.create(MAIN, ROLE, "x", trust="{}"),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=document("sts:AssumeRole")),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=trust("*", "s3:GetObject")),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=trust("*", Resource="*")),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=trust("*"), max_session_s=3599),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=trust("*"), description="x" * 1001),
        lambda iam: iam.create(MAIN, ROLE, "x", trust=trust("*") + " " * 4096),
        lambda iam: iam.create_policy(MAIN, "x", "{"),
        lambda iam: iam.create_policy(MAIN, "x", trust("*")),
        lambda iam: iam.create_policy(MAIN, "x", document(["s3:" + "a" * 99] * 70)),
        lambda iam: iam.create_policy(MAIN, "x", document(), description="x" * 1001),
        lambda iam: iam.create_key(MAIN, "nobody"),
        lambda iam: iam.create_key(MAIN, "", access_key="a/b", secret_key="secret-of-it"),
        lambda iam: iam.create_key(MAIN, "", access_key="OWNKEY", secret_key="short"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    iam: Directory, make: Callable[[Directory], object]
) -> None:
    with pytest.raises(IamError) as refused:
        make(iam)
    assert not isinstance(refused.value, DirectoryError)
    assert iam.entities(MAIN, USER) == iam.entities(MAIN, ROLE) == []
    assert iam.policies(MAIN, "Local") == []
    assert iam.keys_of(MAIN, "") == []


def test_groups(iam: Directory) -> None:
    for name in ("ann", "bob"):
        iam.create(MAIN, USER, name)
    iam.create(MAIN, GROUP, "readers")
    for name in ("bob", "ann", "ann"):
        iam.add_member(MAIN, "readers", name)
    assert [user.name for user in iam.members(MAIN, "readers")] == ["ann", "bob"]
    assert [group.name for group in iam.groups_of(MAIN, "ann")] == ["readers"]
    for kind, name in ((GROUP, "readers"), (USER, "ann")):
        with pytest.raises(DeleteConflictError):
            iam.delete(MAIN, kind, name)
    iam.remove_member(MAIN, "readers", "ann")
    with pytest.raises(NoSuchEntityError):
        iam.remove_member(MAIN, "readers", "ann")
    iam.delete(MAIN, USER, "ann")
    for number in range(9):
        iam.create(MAIN, GROUP, f"g{number}")
        iam.add_member(MAIN, f"g{number}", "bob")
    iam.create(MAIN, GROUP, "more")
    with pytest.raises(LimitExceededError):
        iam.add_member(MAIN, "more", "bob")
    assert len(iam.groups_of(MAIN, "bob")) == 10


def test_roles(iam: Directory) -> None:
    made = iam.create(MAIN, ROLE, "job", trust=trust({"AWS": MAIN}), max_session_s=7200)
    assert (made.entity_id[:4], made.max_session_s) == ("AROA", 7200)
    changed = iam.update_role(MAIN, "job", trust=trust("*"), description="d")
    assert (changed.trust, changed.description, changed.max_session_s) == (trust("*"), "d", 7200)
    with pytest.raises(MalformedPolicyDocumentError):
        iam.update_role(MAIN, "job", trust="x")
    iam.create_session(MAIN, ROLE, made.row, "s", 3600)
    iam.delete(MAIN, ROLE, "job")


def test_inline_policies(iam: Directory) -> None:
    iam.create(MAIN, USER, "ann")
    iam.put_inline(MAIN, USER, "ann", "p", document("s3:Get*"))
    iam.put_inline(MAIN, USER, "ann", "p", document("s3:Put*"))
    assert iam.inline(MAIN, USER, "ann") == {"p": document("s3:Put*")}
    long = document([f"s3:Put{number}*" for number in range(100)])
    iam.put_inline(MAIN, USER, "ann", "long", long)
    with pytest.raises(LimitExceededError):
        iam.put_inline(MAIN, USER, "ann", "longer", long)
    assert list(iam.inline(MAIN, USER, "ann")) == ["long", "p"]
    with pytest.raises(DeleteConflictError):
        iam.delete(MAIN, USER, "ann")
    for name in iam.inline(MAIN, USER, "ann"):
        iam.delete_inline(MAIN, USER, "ann", name)
    with pytest.raises(NoSuchEntityError):
        iam.delete_inline(MAIN, USER, "ann", "p")
    iam.delete(MAIN, USER, "ann")


def test_managed_policies(iam: Directory, directories: Directories) -> None:
    made = iam.create_policy(MAIN, "mine", document(), path="/p/", description="d")
    assert made.arn == f"arn:aws:iam::{MAIN}:policy/p/mine"
    assert iam.policy(made.arn) == made
    for missing in (f"arn:aws:iam::{MAIN}:policy/mine", "arn:aws:iam::aws:policy/No", "x"):
        with pytest.raises(NoSuchEntityError):
            iam.policy(missing)
    with pytest.raises(EntityAlreadyExistsError):
        iam.create_policy(MAIN, "MINE", document())
    directories.clock.advance(10**9)
    for number in range(2, 6):
        version = iam.create_version(made.arn, document(f"s3:Get{number}"), is_default=number == 3)
        assert (version.version, version.is_default) == (number, number == 3)
    with pytest.raises(LimitExceededError):
        iam.create_version(made.arn, document())
    assert [(v.version, v.is_default) for v in iam.versions(made.arn)] == [
        (5, False), (4, False), (3, True), (2, False), (1, False),
    ]  # fmt: skip
    assert iam.document_of(made.arn) == document("s3:Get3")
    assert iam.policy(made.arn).updated_ms > made.updated_ms
    with pytest.raises(DeleteConflictError):
        iam.delete_version(made.arn, 3)
    with pytest.raises(DeleteConflictError):
        iam.delete_policy(made.arn)
    iam.set_default_version(made.arn, 1)
    for number in (2, 3, 4, 5):
        iam.delete_version(made.arn, number)
    for change in (iam.set_default_version, iam.delete_version):
        with pytest.raises(NoSuchEntityError):
            change(made.arn, 5)
    assert iam.create_version(made.arn, document()).version == 6
    iam.delete_version(made.arn, 6)
    iam.create(MAIN, USER, "ann", boundary=made.arn)
    iam.attach(MAIN, USER, "ann", made.arn)
    assert (iam.policy(made.arn).attachments, iam.policy(made.arn).boundaries) == (1, 1)
    assert [e.name for e in iam.entities_for(MAIN, made.arn)] == ["ann"]
    assert [e.name for e in iam.entities_for(MAIN, made.arn, as_boundary=True)] == ["ann"]
    iam.detach(MAIN, USER, "ann", made.arn)
    with pytest.raises(DeleteConflictError):
        iam.delete_policy(made.arn)
    iam.set_boundary(MAIN, USER, "ann", "")
    iam.delete_policy(made.arn)
    assert iam.document_of(made.arn) is None


def test_policies_of_awss(iam: Directory) -> None:
    iam.create(MAIN, USER, "ann")
    iam.attach(MAIN, USER, "ann", READ)
    assert iam.attached(MAIN, USER, "ann") == [READ]
    assert iam.policy(READ).attachments == 1
    assert iam.versions(READ)[0].document == iam.document_of(READ)
    with pytest.raises(UnmodifiableEntityError):
        iam.delete_policy(READ)
    with pytest.raises(UnmodifiableEntityError):
        iam.create_version(READ, document())
    with pytest.raises(UnmodifiableEntityError):
        iam.set_default_version(READ, 1)
    with pytest.raises(UnmodifiableEntityError):
        iam.delete_version(READ, 1)
    listed = [policy.name for policy in iam.policies(MAIN, "AWS")]
    assert {"AdministratorAccess", "AmazonS3FullAccess"} <= set(listed)
    assert iam.policies(MAIN, "Local") == []
    with pytest.raises(NoSuchEntityError):
        iam.detach(MAIN, USER, "ann", "arn:aws:iam::aws:policy/AdministratorAccess")


def test_a_policy_of_another_account_cannot_be_had(iam: Directory) -> None:
    iam.create_account("other", account_id="111122223333")
    theirs = iam.create_policy("111122223333", "theirs", document())
    iam.create(MAIN, USER, "ann")
    with pytest.raises(NoSuchEntityError):
        iam.attach(MAIN, USER, "ann", theirs.arn)
    with pytest.raises(NoSuchEntityError):
        iam.set_boundary(MAIN, USER, "ann", theirs.arn)


def test_as_many_attached_as_there_may_be(iam: Directory) -> None:
    iam.create(MAIN, USER, "ann")
    arns = [iam.create_policy(MAIN, f"p{n}", document()).arn for n in range(11)]
    for arn in arns[:10]:
        iam.attach(MAIN, USER, "ann", arn)
    with pytest.raises(LimitExceededError):
        iam.attach(MAIN, USER, "ann", arns[10])
    assert len(iam.attached(MAIN, USER, "ann")) == 10


def test_keys(iam: Directory, tmp_path: Path) -> None:
    iam.create(MAIN, USER, "ann")
    made = iam.create_key(MAIN, "ann")
    assert (made.access_key[:4], len(made.access_key), len(made.secret_key)) == ("AKIA", 21, 40)
    given = iam.create_key(MAIN, "ann", access_key="GIVENKEY", secret_key="given-secret")
    with pytest.raises(LimitExceededError):
        iam.create_key(MAIN, "ann")
    with pytest.raises(EntityAlreadyExistsError):
        iam.create_key(MAIN, "", access_key="GIVENKEY", secret_key="given-secret")
    assert iam.secret_of("GIVENKEY") == (MAIN, iam.get(MAIN, USER, "ann").row, "given-secret")
    assert {key.access_key for key in iam.keys_of(MAIN, "ann")} == {"GIVENKEY", made.access_key}
    assert all(key.secret_key == "" for key in iam.keys_of(MAIN, "ann"))
    iam.set_key_active(MAIN, "ann", "GIVENKEY", False)
    assert not iam.key("GIVENKEY").is_active
    assert iam.secret_of("GIVENKEY") is None
    iam.note_used([("GIVENKEY", 7, "s3", "us-east-1"), ("GIVENKEY", 5, "ec2", "x")])
    assert (iam.key("GIVENKEY").used_ms, iam.key("GIVENKEY").used_service) == (7, "s3")
    for account, user in ((MAIN, ""), ("111122223333", "ann")):
        with pytest.raises(NoSuchEntityError):
            iam.delete_key(account, user, "GIVENKEY")
    with pytest.raises(DeleteConflictError):
        iam.delete(MAIN, USER, "ann")
    for key in (made, given):
        iam.delete_key(MAIN, "ann", key.access_key)
    assert iam.secret_of(made.access_key) is None
    root = iam.create_key(MAIN, "")
    assert iam.secret_of(root.access_key) == (MAIN, None, root.secret_key)
    iam.close()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "iam").iterdir())
    assert root.access_key.encode() in everything
    for secret in (made.secret_key, "given-secret", root.secret_key):
        assert secret.encode() not in everything


def test_a_change_is_whole_or_not_at_all(iam: Directory) -> None:
    before = iam.create(MAIN, USER, "ann")
    with contextlib.suppress(ZeroDivisionError), iam._db.change() as cursor:
        cursor.execute("update entity set name = 'changed'")
        raise ZeroDivisionError
    assert iam.get(MAIN, USER, "ann") == before


def test_several_processes_share_it(directories: Directories) -> None:
    one, two = directories.open(), directories.open()
    one.create(MAIN, USER, "ann")
    generation = two.generation()
    assert two.get(MAIN, USER, "ann").name == "ann"
    assert two.generation() == generation
    one.create(MAIN, USER, "bob")
    assert two.generation() != generation
    two.delete(MAIN, USER, "ann")
    with pytest.raises(NoSuchEntityError):
        one.get(MAIN, USER, "ann")
    for directory in (one, two):
        assert directory.check() == []
        directory.close()


def test_what_is_no_database_is_told_of(tmp_path: Path, directories: Directories) -> None:
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam" / "identities.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DirectoryError, match=r"identities\.db"):
        directories.open().accounts()
    with pytest.raises(DirectoryError):
        directories.open().create(MAIN, USER, "ann")


def test_what_is_damaged_is_found(
    tmp_path: Path, directories: Directories, capsys: pytest.CaptureFixture[str]
) -> None:
    with ObjectStore.open(tmp_path):
        pass
    first = directories.open()
    for number in range(200):
        first.create(MAIN, USER, f"user{number}")
    first.close()
    assert main(["check", str(tmp_path)]) == 0
    path = tmp_path / "iam" / "identities.db"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 3000] = bytes(3000)
    path.write_bytes(whole)
    assert main(["check", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "identities.db" in captured.out + captured.err


def test_a_database_of_a_newer_version_is_left_alone(directories: Directories) -> None:
    first = directories.open()
    first.create(MAIN, USER, "ann")
    with first._db.change() as cursor:
        cursor.execute("pragma user_version = 2")
    first.close()
    with pytest.raises(DirectoryError, match="newer version"):
        directories.open().get(MAIN, USER, "ann")
