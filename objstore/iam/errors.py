"""What identities refuse, by the names of IAM's model."""

from __future__ import annotations


class IamError(Exception):
    """An error of IAM; its class is what IAM calls it, the text what it says."""


class NoSuchEntityError(IamError):
    """There is none of that name."""


class EntityAlreadyExistsError(IamError):
    """There is one of that name already."""


class LimitExceededError(IamError):
    """There would be more than there may be."""


class DeleteConflictError(IamError):
    """Something else depends on it; that has to go first."""


class MalformedPolicyDocumentError(IamError):
    """A document that is no policy; the text names what is wrong with it."""


class InvalidInputError(IamError):
    """A name, a path or another value that cannot be."""


class UnmodifiableEntityError(IamError):
    """What is not for anybody to change, such as a policy of AWS's."""


class DirectoryError(IamError):
    """The database cannot be read or written; the text says why."""
