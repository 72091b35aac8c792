"""Bytes that can be made anywhere in a stream and checked without keeping it."""

import hashlib
import random
import struct

BLOCK = 1 << 16
# One block of fixed noise: block number i of a stream is this with i in its first eight bytes, so that
# a lost, doubled or swapped block shows.
_NOISE = random.Random(0x5EED).randbytes(BLOCK)


def block(number: int) -> bytes:
    return struct.pack(">Q", number) + _NOISE[8:]


def span(start: int, end: int):
    """The bytes [start, end) of the stream, in pieces of at most one block."""
    while start < end:
        number, offset = divmod(start, BLOCK)
        piece = block(number)[offset:min(BLOCK, offset + end - start)]
        yield piece
        start += len(piece)


def digest(length: int) -> str:
    """SHA-256, in hex, of the first `length` bytes."""
    hashed = hashlib.sha256()
    for piece in span(0, length):
        hashed.update(piece)
    return hashed.hexdigest()
