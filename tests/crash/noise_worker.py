"""Noise until it is killed: ``python -m tests.crash.noise_worker STORE SEED``."""

from __future__ import annotations

import random
import sys

from objstore import ObjectStore
from tests.crash.tiny import TINY, pattern


def main() -> None:
    path, seed = sys.argv[1], int(sys.argv[2])
    dice = random.Random(seed)
    store = ObjectStore.open(path, config=TINY)
    for number in range(10**9):
        key = f"{dice.randrange(8)}"
        store.put("noise", key, pattern(number, dice.choice((10, 5000, 40_000))))
        if number % 7 == 0:
            store.delete("noise", key)
        if number % 25 == 0:
            store.maintain()
        if number == 30:
            print("under way", flush=True)


if __name__ == "__main__":
    main()
