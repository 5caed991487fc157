"""Looking up who sends a request: what they may do, and how soon a change counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.auth.evaluator import Decision
from objstore.auth.keys import ROOT_ID, Credentials, Identity, root_identity
from objstore.auth.permission import ask
from objstore.iam import Directory, IamKeyStore
from objstore.iam.names import GROUP, ROLE, USER
from tests.directories import MAIN, READ, Directories, document, trust

OTHER = "111122223333"
BUCKET, KEY = "arn:aws:s3:::b", "arn:aws:s3:::b/k"


@pytest.fixture
def directories(tmp_path: Path, seed: int) -> Directories:
    return Directories(tmp_path, seed)


@pytest.fixture
def iam(directories: Directories) -> Iterator[Directory]:
    found = directories.open()
    yield found
    assert found.check() == []
    found.close()


@pytest.fixture
def keys(directories: Directories) -> IamKeyStore:
    """Of another process."""
    return IamKeyStore(directories.open())


def identity(keys: IamKeyStore, access_key: str) -> Identity:
    found = keys.lookup(access_key)
    assert found is not None
    assert found.access_key == access_key
    return found.identity


def may(keys: IamKeyStore, access_key: str, action: str, resource: str = KEY) -> bool:
    return decision(keys, access_key, action, resource).is_allowed


def decision(keys: IamKeyStore, access_key: str, action: str, resource: str = KEY) -> Decision:
    return ask(identity(keys, access_key), f"s3:{action}", resource)


def test_the_servers_own_come_first_and_need_no_database(
    directories: Directories, tmp_path: Path
) -> None:
    own = Credentials("OWNKEY", "secret", root_identity(ROOT_ID, "root"))
    keys = IamKeyStore(directories.open(), [own])
    assert keys.lookup("OWNKEY") is own
    assert keys.lookup("AKIA") is None
    assert not (tmp_path / "iam").exists()


def test_a_user(iam: Directory, keys: IamKeyStore) -> None:
    ann = iam.create(MAIN, USER, "ann", path="/team/", tags={"Role": "dev"})
    key = iam.create_key(MAIN, "ann").access_key
    found = identity(keys, key)
    assert (found.id, found.account, found.arn, found.is_root) == (ROOT_ID, MAIN, ann.arn, False)
    assert found.grants.context["aws:username"] == "ann"
    assert found.grants.context["aws:principaltag/role"] == "dev"
    assert not may(keys, key, "GetObject")
    iam.put_inline(MAIN, USER, "ann", "p", document("s3:Get*"))
    assert may(keys, key, "GetObject")
    iam.attach(MAIN, USER, "ann", READ)
    assert may(keys, key, "ListBucket", BUCKET)
    iam.create(MAIN, GROUP, "writers")
    mine = iam.create_policy(MAIN, "write", document("s3:Put*"))
    iam.attach(MAIN, GROUP, "writers", mine.arn)
    iam.put_inline(MAIN, GROUP, "writers", "no", document("s3:PutObjectAcl", effect="Deny"))
    assert not may(keys, key, "PutObject")
    iam.add_member(MAIN, "writers", "ann")
    assert may(keys, key, "PutObject")
    assert not may(keys, key, "PutObjectAcl")
    iam.create_version(mine.arn, document("s3:Delete*"), is_default=True)
    assert not may(keys, key, "PutObject")
    assert may(keys, key, "DeleteObject")
    iam.set_boundary(MAIN, USER, "ann", READ)
    assert not may(keys, key, "DeleteObject")
    assert may(keys, key, "GetObject")


def test_what_is_taken_away_is_gone_at_once(iam: Directory, keys: IamKeyStore) -> None:
    iam.create(MAIN, USER, "ann")
    key = iam.create_key(MAIN, "ann").access_key
    iam.attach(MAIN, USER, "ann", READ)
    assert may(keys, key, "GetObject")
    iam.detach(MAIN, USER, "ann", READ)
    assert not may(keys, key, "GetObject")
    iam.set_key_active(MAIN, "ann", key, False)
    assert keys.lookup(key) is None
    iam.set_key_active(MAIN, "ann", key, True)
    assert keys.lookup(key) is not None
    iam.delete_key(MAIN, "ann", key)
    assert keys.lookup(key) is None


def test_the_root_of_another_account(iam: Directory, keys: IamKeyStore) -> None:
    account = iam.create_account("shop", account_id=OTHER)
    key = iam.create_key(OTHER, "").access_key
    found = identity(keys, key)
    assert (found.id, found.account, found.is_root) == (account.canonical_id, OTHER, True)
    assert found.arn == f"arn:aws:iam::{OTHER}:root"
    assert ask(found, "s3:GetObject", KEY, owner=account.canonical_id).source == "root"
    assert not ask(found, "s3:GetObject", KEY, owner=ROOT_ID).is_allowed


@pytest.mark.parametrize("where", ["inline", "managed", "boundary"])
def test_a_policy_that_is_broken_lets_nothing_happen(
    iam: Directory, keys: IamKeyStore, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    mine = iam.create_policy(MAIN, "mine", document())
    iam.create(MAIN, USER, "ann", boundary=mine.arn)
    key = iam.create_key(MAIN, "ann").access_key
    iam.put_inline(MAIN, USER, "ann", "p", document())
    iam.attach(MAIN, USER, "ann", READ)
    assert may(keys, key, "GetObject")
    if where == "managed":
        iam.attach(MAIN, USER, "ann", mine.arn)
        iam.set_boundary(MAIN, USER, "ann", "")
    with iam._db.change() as cursor:
        table = "inline" if where == "inline" else "managed_version"
        cursor.execute(f"update {table} set document = '{{'")
    assert not may(keys, key, "GetObject")
    assert "denies everything" in caplog.text


def test_a_session_of_a_role(iam: Directory, keys: IamKeyStore, directories: Directories) -> None:
    role = iam.create(MAIN, ROLE, "job", trust=trust("*"), tags={"team": "a"})
    iam.put_inline(MAIN, ROLE, "job", "p", document("s3:*"))
    only_reads = document("s3:Get*")
    made = iam.create_session(
        MAIN, ROLE, role.row, "run-1", 3600, policy=only_reads, tags={"step": "2"}
    )
    found = keys.lookup(made.access_key)
    assert found is not None
    assert found.session_token == made.token
    assert found.expires_ms == directories.clock.now_ns() // 10**6 + 3_600_000
    arn = f"arn:aws:sts::{MAIN}:assumed-role/job/run-1"
    assert found.identity.arn == arn
    grants = found.identity.grants
    assert grants.names == {f"AWS:{arn}", f"AWS:{role.arn}"}
    assert grants.session_names == {f"AWS:{arn}"}
    assert grants.context["aws:principalarn"] == role.arn
    assert grants.context["aws:principaltag/team"] == "a"
    assert grants.context["aws:principaltag/step"] == "2"
    assert may(keys, made.access_key, "GetObject")
    assert not may(keys, made.access_key, "PutObject")
    assert decision(keys, made.access_key, "PutObject").source == "session"
    # revocation: as the console does it
    issued = {"DateLessThan": {"aws:TokenIssueTime": str(made.issued_ms // 1000 + 1)}}
    iam.put_inline(MAIN, ROLE, "job", "revoke", document("*", effect="Deny", Condition=issued))
    assert not may(keys, made.access_key, "GetObject")
    iam.delete_inline(MAIN, ROLE, "job", "revoke")
    iam.delete_inline(MAIN, ROLE, "job", "p")
    iam.delete(MAIN, ROLE, "job")
    assert keys.lookup(made.access_key) is None


def test_a_session_of_a_user(iam: Directory, keys: IamKeyStore) -> None:
    user = iam.create(MAIN, USER, "ann")
    iam.put_inline(MAIN, USER, "ann", "p", document("s3:Get*"))
    made = iam.create_session(MAIN, USER, user.row, "", 3600)
    assert identity(keys, made.access_key).arn == user.arn
    assert may(keys, made.access_key, "GetObject")
    assert "aws:tokenissuetime" in identity(keys, made.access_key).grants.context
    of_root = iam.create_session(MAIN, USER, 0, "", 3600)
    assert identity(keys, of_root.access_key).is_root


def test_a_federated_session(iam: Directory, keys: IamKeyStore) -> None:
    user = iam.create(MAIN, USER, "ann")
    iam.put_inline(MAIN, USER, "ann", "p", document("s3:Get*"))
    for source, allowed in ((user.row, True), (0, True)):
        made = iam.create_session(
            MAIN, "federated", source, "guest", 3600, policy=document(["s3:Get*", "s3:Put*"])
        )
        found = identity(keys, made.access_key)
        assert found.arn == f"arn:aws:sts::{MAIN}:federated-user/guest"
        assert not found.is_root
        assert may(keys, made.access_key, "GetObject") == allowed
        assert may(keys, made.access_key, "PutObject") == (source == 0)
        assert not may(keys, made.access_key, "DeleteObject")
    without = iam.create_session(MAIN, "federated", 0, "guest", 3600)
    assert not may(keys, without.access_key, "GetObject")


def test_sessions_that_ended_go(iam: Directory, directories: Directories) -> None:
    first = iam.create_session(MAIN, USER, 0, "", 3600)
    directories.clock.advance(3 * 3600 * 10**9)
    iam.create_session(MAIN, USER, 0, "", 3600)
    assert iam.session(first.access_key) is None


def test_a_process_that_died_in_a_change_hides_no_later_one(
    iam: Directory, keys: IamKeyStore
) -> None:
    iam.create(MAIN, USER, "ann")
    key = iam.create_key(MAIN, "ann").access_key
    assert not may(keys, key, "GetObject")
    assert iam._db._counters is not None
    iam._db._counters[0] += 1  # begun, and never ended
    iam.attach(MAIN, USER, "ann", READ)
    assert may(keys, key, "GetObject")
    iam._db._counters[0] += 1
    iam.detach(MAIN, USER, "ann", READ)
    assert not may(keys, key, "GetObject")


def test_many_users_and_policies_cost_a_look_up_nothing(
    iam: Directory, directories: Directories
) -> None:
    iam.create(MAIN, USER, "ann")
    key = iam.create_key(MAIN, "ann").access_key
    iam.attach(MAIN, USER, "ann", READ)

    def statements() -> list[str]:
        """What a new process asks of the database for its first request, and for its second."""
        directory = directories.open()
        seen: list[str] = []
        directory.generation()
        connection: sqlite3.Connection = directory._db._open(make=False)
        connection.set_trace_callback(seen.append)
        keys = IamKeyStore(directory)
        for _ in range(2):
            assert keys.lookup(key) is not None
            seen.append("-")
        plans = [
            row[3]
            for text in seen
            if text.startswith("select")
            for row in connection.execute(f"explain query plan {text}").fetchall()
        ]
        directory.close()
        assert not any(plan.startswith("SCAN") for plan in plans), plans
        return [text.partition(" where ")[0] for text in seen]

    before = statements()
    assert before[-2:] == ["-", "-"]  # the second asks for nothing
    with iam._db.change() as cursor:
        for number in range(10_000):
            cursor.execute(
                "insert into entity (account, kind, name, path, entity_id, created_ms) "
                "values (?, 'user', ?, '/', ?, 0)",
                (MAIN, f"user{number}", f"AIDA{number}"),
            )
        for number in range(1_000):
            values = (MAIN, f"policy{number}", f"ANPA{number}")
            cursor.execute(
                "insert into managed (account, name, path, policy_id, created_ms, updated_ms, "
                "description, default_version, next_version) values (?, ?, '/', ?, 0, 0, '', 1, 2)",
                values,
            )
            cursor.execute(
                "insert into managed_version values (?, 1, ?, 0)",
                (cursor.lastrowid, json.dumps({"Statement": []})),
            )
    assert statements() == before
