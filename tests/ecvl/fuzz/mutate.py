"""Mutants of a file: the same number gives the same bytes, on every machine."""

import gzip
import re
import zlib
from collections.abc import Callable

import numpy as np

Mutation = Callable[[bytearray, np.random.Generator], bytearray]
WORDS = [
    b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80", b"\x01\0",
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x7f\xff\xff\xff",
    b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\x7f\x80\0\0", b"\0\0\0\x40", b"\x40\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\x80", b"\xff" * 16,
]  # fmt: skip
NUMBERS = [b"0", b"-1", b"1", b"65535", b"65536", b"2147483647", b"4294967296", b"99999999999999",
           b"1e308", b"nan", b"inf", b"", b"0.5", b"1 1", b"../x", b"\xff"]  # fmt: skip
# Headers are where the harm is: half of the mutations go there.
HEADER = 1024


def mutant(content: bytes, number: int, seed: int) -> bytes:
    """Return mutant `number` of a file; `seed` tells the files apart."""
    rng = np.random.default_rng([seed, number])
    inner = _unpacked(content) if rng.random() < 0.7 else None
    changed = bytearray(content if inner is None else inner)
    for _ in range(int(rng.integers(1, 5))):
        if changed:
            changed = MUTATIONS[int(rng.integers(len(MUTATIONS)))](changed, rng)
    if inner is not None:
        return gzip.compress(bytes(changed), 1, mtime=0)
    return _checked(bytes(changed)) if rng.random() < 0.7 else bytes(changed)


def _at(content: bytearray, rng: np.random.Generator) -> int:
    end = min(len(content), HEADER) if rng.random() < 0.5 else len(content)
    return int(rng.integers(end))


def _flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        content[_at(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _set_words(content: bytearray, rng: np.random.Generator) -> bytearray:
    word = WORDS[int(rng.integers(len(WORDS)))]
    at = _at(content, rng)
    content[at : at + len(word)] = word
    return content


def _edit_length(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Change a 2 or 4 byte number by a little, or by a factor."""
    size, order = int(rng.choice([2, 4])), ("little", "big")[int(rng.integers(2))]
    at = _at(content, rng)
    field = bytes(content[at : at + size])
    if len(field) < size:
        return content
    value = int.from_bytes(field, order)  # type: ignore[arg-type]
    value = int(rng.choice([value + 1, value - 1, value * 2, value * 256, value ^ 0x8000, ~value]))
    content[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, order)  # type: ignore[arg-type]
    return content


def _edit_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Replace a number written as text."""
    places = list(re.finditer(rb"-?\d+", bytes(content[:HEADER])))
    if not places:
        return _set_words(content, rng)
    place = places[int(rng.integers(len(places)))]
    content[place.start() : place.end()] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    return content


def _truncate(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(len(content) + 1))]


def _splice(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Copy a piece over, or between, other bytes."""
    start, at = _at(content, rng), _at(content, rng)
    piece = content[start : start + int(rng.integers(1, 257))]
    content[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece
    return content


def _cut_out(content: bytearray, rng: np.random.Generator) -> bytearray:
    at = _at(content, rng)
    del content[at : at + int(rng.integers(1, 65))]
    return content


MUTATIONS: list[Mutation] = [
    _flip_bits,
    _set_words,
    _set_words,
    _edit_length,
    _edit_length,
    _edit_number,
    _truncate,
    _splice,
    _cut_out,
]


def _unpacked(content: bytes) -> bytes | None:
    """What a gzip file holds: behind a wrong checksum nothing would be reached."""
    if content[:2] != b"\x1f\x8b":
        return None
    return gzip.decompress(content)


def _checked(content: bytes) -> bytes:
    """Make the checksums of a PNG right again."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    out, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        out += content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return bytes(out + content[at:])
