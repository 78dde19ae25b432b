"""Which phrases a sample gets: keyed by the seed and the sample's key, hence independent of all other samples."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from templates.phrases import Phrase

A = TypeVar("A")
B = TypeVar("B")


def shuffled(phrases: Sequence[Phrase], seed: int, key: str, name: str) -> list[Phrase]:
    """The phrases in the order of sha256(seed, key, name of the list, phrase).

    The order among old phrases stays when a new one is added, and does not depend on the order in the bank.
    """
    before = hashlib.sha256(f"{seed}\0{key}\0{name}\0".encode())

    def digest(phrase: Phrase) -> bytes:
        whole = before.copy()
        whole.update(phrase.encoded)
        return whole.digest()

    return sorted(phrases, key=digest)


def walk_pairs(firsts: Sequence[A], seconds: Sequence[B]) -> Iterator[tuple[A, B]]:
    """Every pair exactly once, and consecutive pairs differ in both members.

    Down the diagonal of the m x n table, one column further each time that it closes after lcm(m, n) steps: pair k
    is (k mod m, (k + k // lcm) mod n). So the first m pairs have different firsts and, up to n, different seconds.
    """
    m, n = len(firsts), len(seconds)
    for k in range(m * n):
        yield firsts[k % m], seconds[(k + k // math.lcm(m, n)) % n]
