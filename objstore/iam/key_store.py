"""What requests are authenticated by: access keys, and all that their owners may do.

What was looked up is kept until anything in the database changes, in whatever process: so a
key that is deleted, a policy that is detached or a session that is revoked counts for the next
request, and a request that nothing changed before costs no more than asking whether.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from objstore.auth.keys import Credentials, Grants, Identity, root_identity
from objstore.auth.policy import Policy, PolicyError, parse_identity_policy
from objstore.iam.directory import Directory
from objstore.iam.model import Account, Entity, Session
from objstore.iam.names import ROLE, USER

logger = logging.getLogger("objstore.iam")

_MOST_KNOWN: Final = 20_000
_ALLOW_ALL: Final = parse_identity_policy(
    b'{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
)
_DENY_ALL: Final = parse_identity_policy(
    b'{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'
)


class IamKeyStore:
    """Looks up credentials in a directory; `own` ones, the server's root's, come first.

    Safe to share between threads.
    """

    def __init__(self, directory: Directory, own: Iterable[Credentials] = ()) -> None:
        self._directory = directory
        self._own = {entry.access_key: entry for entry in own}
        self._known: dict[str, Credentials | None] = {}
        self._generation: tuple[int, int] | None = None

    def lookup(self, access_key: str) -> Credentials | None:
        """The credentials of an access key, or None."""
        own = self._own.get(access_key)
        if own is not None:
            return own
        generation = self._directory.generation()
        if generation is None:
            return None
        if generation != self._generation or len(self._known) > _MOST_KNOWN:
            self._known = {}
            self._generation = generation
        known = self._known
        if access_key not in known:
            known[access_key] = self._found(access_key)
        return known[access_key]

    def _found(self, access_key: str) -> Credentials | None:
        found = self._directory.secret_of(access_key)
        if found is not None:
            account_id, row, secret_key = found
            identity = self._identity(account_id, row)
            return None if identity is None else Credentials(access_key, secret_key, identity)
        session = self._directory.session(access_key)
        if session is None:
            return None
        of_session = self._of_session(session)
        if of_session is None:
            return None
        return Credentials(
            access_key, session.secret_key, of_session, session.token, session.expires_ms
        )

    def _identity(self, account_id: str, row: int | None) -> Identity | None:
        account = self._directory.account(account_id)
        if not row:
            return root_identity(account.canonical_id, account.display_name, account_id)
        user = self._directory.entity_of_row(row)
        return None if user is None else self.identity_of(account, user)

    def identity_of(self, account: Account, user: Entity) -> Identity:
        """A user, and all that it may do."""
        policies = self._policies(user)
        for group in self._directory.groups_of_row(user.row):
            policies += self._policies(group)
        grants = Grants(
            policies=tuple(policies),
            boundary=self._boundary(user),
            names=frozenset((f"AWS:{user.arn}",)),
            account_names=_account_names(account),
            context={
                "aws:username": user.name,
                "aws:userid": user.entity_id,
                "aws:principaltype": "User",
                **_common(account, user.arn, user.tags),
            },
        )
        return Identity(
            account.canonical_id, user.name, account=account.account_id, arn=user.arn, grants=grants
        )

    def _of_session(self, session: Session) -> Identity | None:
        account = self._directory.account(session.account)
        limit = _parsed(session.policy, "the session policy") if session.policy else None
        if session.kind == ROLE:
            role = self._directory.entity_of_row(session.source)
            return None if role is None else self._of_role(account, role, session, limit)
        maker = self._identity(session.account, session.source or None)
        if maker is None:
            return None
        issued = {"aws:tokenissuetime": str(session.issued_ms // 1000)}
        grants = replace(maker.grants, session=limit, context={**maker.grants.context, **issued})
        if session.kind == USER:
            return replace(maker, grants=grants)
        # federated: at most what its maker may do, and what the session's policy says
        arn = f"arn:aws:sts::{session.account}:federated-user/{session.name}"
        names = frozenset((f"AWS:{arn}",))
        user_id = f"{session.account}:{session.name}"
        context = {
            "aws:userid": user_id,
            "aws:principaltype": "FederatedUser",
            **_common(account, arn, session.tags),
            **issued,
        }
        grants = Grants(
            policies=(_ALLOW_ALL,) if maker.is_root else maker.grants.policies,
            boundary=maker.grants.boundary,
            session=limit or _DENY_ALL,
            names=names,
            account_names=_account_names(account),
            session_names=names,
            context=context,
        )
        return Identity(
            account.canonical_id, session.name, account=session.account, arn=arn, grants=grants
        )

    def _of_role(
        self, account: Account, role: Entity, session: Session, limit: Policy | None
    ) -> Identity:
        arn = f"arn:aws:sts::{session.account}:assumed-role/{role.name}/{session.name}"
        itself = frozenset((f"AWS:{arn}",))
        grants = Grants(
            policies=tuple(self._policies(role)),
            boundary=self._boundary(role),
            session=limit,
            names=itself | {f"AWS:{role.arn}"},
            account_names=_account_names(account),
            session_names=itself,
            context={
                "aws:userid": f"{role.entity_id}:{session.name}",
                "aws:principaltype": "AssumedRole",
                "aws:tokenissuetime": str(session.issued_ms // 1000),
                # policies name the role, whatever the session is called
                **_common(account, role.arn, {**role.tags, **session.tags}),
            },
        )
        return Identity(
            account.canonical_id, session.name, account=session.account, arn=arn, grants=grants
        )

    def _policies(self, entity: Entity) -> list[Policy]:
        inline = self._directory.inline_of_row(entity.row)
        found = [_parsed(document, f"{name} of {entity.arn}") for name, document in inline.items()]
        return found + list(map(self._managed, self._directory.attached_to_row(entity.row)))

    def _managed(self, arn: str) -> Policy:
        document = self._directory.document_of(arn)
        return replace(_DENY_ALL, name=arn) if document is None else _parsed(document, arn)

    def _boundary(self, entity: Entity) -> Policy | None:
        return self._managed(entity.boundary) if entity.boundary else None


def _parsed(document: str, called: str) -> Policy:
    """A policy; one that does not parse any more lets its owner do nothing."""
    try:
        policy = parse_identity_policy(document.encode("utf-8", "surrogatepass"))
    except PolicyError as error:
        logger.error("the policy %s denies everything, as it is none: %s", called, error)
        policy = _DENY_ALL
    return replace(policy, name=called)


def _account_names(account: Account) -> frozenset[str]:
    arn = f"arn:aws:iam::{account.account_id}:root"
    return frozenset(
        (f"AWS:{arn}", f"AWS:{account.account_id}", f"CanonicalUser:{account.canonical_id}")
    )


def _common(account: Account, arn: str, tags: Mapping[str, str]) -> dict[str, str]:
    tagged = {f"aws:principaltag/{key.lower()}": value for key, value in tags.items()}
    return {"aws:principalarn": arn, "aws:principalaccount": account.account_id, **tagged}
