"""Who there is: accounts, users, groups, roles, their keys and policies, in a small database.

`directory.Directory` is all of it; `key_store.IamKeyStore` is what requests are authenticated
by.  docs/design/0009 says why it is beside the log and not in it.
"""

from objstore.iam.directory import Directory
from objstore.iam.key_store import IamKeyStore

__all__ = ["Directory", "IamKeyStore"]
