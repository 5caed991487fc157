"""Digests of known inputs, in hexadecimal and big-endian, of every algorithm that S3 knows.

"123456789" has the check values of the CRC catalogue (https://reveng.sourceforge.io/crc-catalogue/),
"" and "a" those of FIPS 180 and RFC 1321, and of the tests of xxHash's bindings.  All were computed
as well by code that is not the server's: coreutils (sha1sum and its kin), and the library of AWS's
own SDKs (awscrt) for the XXH family; the CRCs have a definition bit by bit in
tests/unit/test_checksums.py.
"""

from __future__ import annotations

PATTERN = bytes(range(256)) * 4096
"""1 MiB: all bytes in order, again and again."""

INPUTS = {"empty": b"", "a": b"a", "123456789": b"123456789", "pattern": PATTERN}

DIGESTS: dict[str, dict[str, str]] = {
    "CRC32": {
        "empty": "00000000",
        "a": "e8b7be43",
        "123456789": "cbf43926",
        "pattern": "04d0e435",
    },
    "CRC32C": {
        "empty": "00000000",
        "a": "c1d04330",
        "123456789": "e3069283",
        "pattern": "7d25b26d",
    },
    "CRC64NVME": {
        "empty": "0000000000000000",
        "a": "8c2f8445b4cbfc3c",
        "123456789": "ae8b14860a799888",
        "pattern": "9a1e6681572d613b",
    },
    "SHA1": {
        "empty": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a": "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
        "123456789": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
        "pattern": "ecfc8e86fdd83811f9cc9bf500993b63069923be",
    },
    "SHA256": {
        "empty": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "a": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "123456789": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        "pattern": "fbbab289f7f94b25736c58be46a994c441fd02552cc6022352e3d86d2fab7c83",
    },
    "SHA512": {
        "empty": (
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
            "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
        ),
        "a": (
            "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f53"
            "02860c652bf08d560252aa5e74210546f369fbbbce8c12cfc7957b2652fe9a75"
        ),
        "123456789": (
            "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a"
            "d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85"
        ),
        "pattern": (
            "ac1d097b4ea6f6ad7ba640275b9ac290e4828cd760a0ebf76d555463a4f505f9"
            "5df4f611629539a2dd1848e7c1304633baa1826462b3c87521c0c6e3469b67af"
        ),
    },
    "MD5": {
        "empty": "d41d8cd98f00b204e9800998ecf8427e",
        "a": "0cc175b9c0f1b6a831c399e269772661",
        "123456789": "25f9e794323b453885f5181f1b624d0b",
        "pattern": "c35cc7d8d91728a0cb052831bc4ef372",
    },
    "XXHASH64": {
        "empty": "ef46db3751d8e999",
        "a": "d24ec4f1a98c6e5b",
        "123456789": "8cb841db40e6ae83",
        "pattern": "44ec7540579dd3f0",
    },
    "XXHASH3": {
        "empty": "2d06800538d394c2",
        "a": "e6c632b61e964e1f",
        "123456789": "72dcb18b67a17dff",
        "pattern": "d36c0e13a3df139e",
    },
    "XXHASH128": {
        "empty": "99aa06d3014798d86001c324468d497f",
        "a": "a96faf705af16834e6c632b61e964e1f",
        "123456789": "33119477ede5dcd5e9716427681d5860",
        "pattern": "1b208d2839093774d36c0e13a3df139e",
    },
}
