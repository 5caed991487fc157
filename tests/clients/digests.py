"""The checksums that S3 knows, as it writes them, computed apart from the server's code.

The XXH family comes from the library of AWS's SDKs here and from python-xxhash in the server.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable

from awscrt.checksums import XXHash


def _reflected_table(polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


def _crc(table: list[int], mask: int, data: bytes) -> int:
    value = mask
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ mask


# Castagnoli's polynomial (RFC 3720) and NVM Express's, both bit-reversed
_CRC32C = _reflected_table(0x82F63B78)
_CRC64NVME = _reflected_table(0x9A6C9329AC4BC9B5)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def crc32(data: bytes) -> str:
    return _base64(zlib.crc32(data).to_bytes(4, "big"))


def crc32c(data: bytes) -> str:
    return _base64(_crc(_CRC32C, 0xFFFFFFFF, data).to_bytes(4, "big"))


def crc64nvme(data: bytes) -> str:
    return _base64(_crc(_CRC64NVME, 0xFFFFFFFFFFFFFFFF, data).to_bytes(8, "big"))


def sha1(data: bytes) -> str:
    return _base64(hashlib.sha1(data).digest())


def sha256(data: bytes) -> str:
    return _base64(hashlib.sha256(data).digest())


def sha512(data: bytes) -> str:
    return _base64(hashlib.sha512(data).digest())


def md5(data: bytes) -> str:
    return _base64(hashlib.md5(data).digest())


def _crt(hasher: XXHash, data: bytes) -> str:
    hasher.update(data)
    return _base64(hasher.finalize())


def xxhash64(data: bytes) -> str:
    return _crt(XXHash.new_xxhash64(), data)


def xxhash3(data: bytes) -> str:
    return _crt(XXHash.new_xxhash3_64(), data)


def xxhash128(data: bytes) -> str:
    return _crt(XXHash.new_xxhash3_128(), data)


DIGESTS: dict[str, Callable[[bytes], str]] = {
    "CRC32": crc32,
    "CRC32C": crc32c,
    "CRC64NVME": crc64nvme,
    "SHA1": sha1,
    "SHA256": sha256,
    "SHA512": sha512,
    "MD5": md5,
    "XXHASH64": xxhash64,
    "XXHASH3": xxhash3,
    "XXHASH128": xxhash128,
}
