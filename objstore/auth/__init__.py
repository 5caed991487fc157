"""Who sends a request, and whether its body is theirs.  Knows no HTTP server and no storage."""

from objstore.auth.authenticator import Authenticator, AuthResult
from objstore.auth.chunked import ChunkedDecoder, ChunkSigning
from objstore.auth.errors import AuthError
from objstore.auth.keys import ANONYMOUS, Credentials, Identity, KeyStore, StaticKeyStore
from objstore.auth.payload import PayloadKind, classify, decoded_length, verify_sha256
from objstore.auth.presigned import presign
from objstore.auth.sigv4 import authorization_for
from objstore.config import ChunkLimits

__all__ = [
    "ANONYMOUS",
    "AuthError",
    "AuthResult",
    "Authenticator",
    "ChunkLimits",
    "ChunkSigning",
    "ChunkedDecoder",
    "Credentials",
    "Identity",
    "KeyStore",
    "PayloadKind",
    "StaticKeyStore",
    "authorization_for",
    "classify",
    "decoded_length",
    "presign",
    "verify_sha256",
]
