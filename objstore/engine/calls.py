"""What the parts of `ObjectStore`'s interface have in common."""

from __future__ import annotations

from objstore.engine.core import Core
from objstore.errors import StoreClosedError


class Calls:
    """Methods of an open store; `ObjectStore` is made of several such classes."""

    _core: Core
    _is_closed: bool

    def _open_core(self) -> Core:
        if self._is_closed:
            raise StoreClosedError("the store is closed; open it again")
        return self._core
