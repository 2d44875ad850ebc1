"""Which client we are to the gateway: a number that two runners at one gateway do not share.

It is derived once, from the owner of the orders, and kept from then on: orders under another id could no longer be
changed. A later version may derive another number; what is kept stays.
"""

from __future__ import annotations

import hashlib

SMALLEST = 10_000
"""Below are the numbers that people give to programs by hand."""
LARGEST = 1_000_000_000


def client_id_of(owner: str) -> int:
    """The id of a runner whose orders carry this owner's tag."""
    digest = hashlib.sha256(f"client:{owner}".encode()).digest()
    return SMALLEST + int.from_bytes(digest[:8]) % (LARGEST - SMALLEST + 1)
