"""EC2's XML: the document that answers an action."""

from __future__ import annotations

from typing import Final

from objstore.aws.xml import DECLARATION, Tree, element

NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"


def render(action: str, request_id: str, tree: Tree) -> bytes:
    """The document that answers an action."""
    inner = "".join(element(name, value, "item") for name, value in tree.items())
    return (
        f'{DECLARATION}<{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>{request_id}</requestId>{inner}</{action}Response>"
    ).encode()
