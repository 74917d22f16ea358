"""The content coding `xpress`: what the virtual upstream packs comes back, and nothing hostile is believed."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.xpress import pack
from mdm.upstream.errors import InvalidAnswer
from mdm.upstream.xpress import LONGEST_BLOCK, XpressReader

ONES = b"\xff\xff\xff\xff"
MATCHES = struct.pack("<I", 0x7FFF_FFFF)
"""Flags: one literal, and matches."""


def unpack(body: bytes, *, step: int | None = None) -> bytes:
    """All of a body that arrives in pieces of `step` bytes."""
    reader = XpressReader()
    pieces = [body[n : n + step] for n in range(0, len(body), step)] if step else [body]
    out = b"".join(block for piece in pieces for block in reader.feed(piece))
    reader.close()
    return out


def block(packed: bytes, plain: int) -> bytes:
    """A block that says it was so long."""
    return struct.pack("<II", plain, len(packed)) + packed


def match(distance: int, length: int) -> bytes:
    """The two bytes of a match; a length of 10 means that more follows."""
    return struct.pack("<H", (distance - 1) << 3 | length - 3)


# --- what is good ---------------------------------------------------------------------------------------


@given(
    st.binary(max_size=600) | st.lists(st.sampled_from([b"abc", b"abcd", b"x", b"yz" * 40])).map(b"".join),
    st.integers(1, 700),
)
def test_whatever_is_packed_comes_back_however_it_arrives(data: bytes, step: int) -> None:
    """Noise and repetition, in one block, cut anywhere."""
    assert unpack(pack(data), step=step) == data


@pytest.mark.parametrize(
    "length", [*range(3, 45), 270, 287, 288, 289, 290, 300, 10_000, 16_352, 16_353, 40_000]
)
def test_matches_of_every_length_come_back(length: int) -> None:
    """The ways a length is written differ at 10, 25 and 280; two matches share a byte; there are several blocks."""
    data = b"abc" + b"a" * length + b"0123456789" + b"b" * length + b"abc"
    assert unpack(pack(data)) == data


def test_blocks_come_as_soon_as_they_are_whole() -> None:
    """The next one is not waited for."""
    body = pack(b"a" * 16_352 + b"b")
    reader = XpressReader()
    assert list(reader.feed(body[:7])) == []
    assert list(reader.feed(body[7:-1])) == [b"a" * 16_352]
    assert list(reader.feed(body[-1:])) == [b"b"]
    reader.close()


def test_noise_comes_back_as_it_is() -> None:
    """Blocks of equal lengths are not compressed; no blocks at all are nothing."""
    noise = hashlib.shake_128(b"noise").digest(40_000)
    assert unpack(pack(noise)) == noise
    assert unpack(b"") == b""


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        # MS-XCA 3.1: plain LZ77 of an alphabet and of a hundred times abc
        (bytes.fromhex("3f000000") + b"abcdefghijklmnopqrstuvwxyz", b"abcdefghijklmnopqrstuvwxyz"),
        (bytes.fromhex("ffffff1f61626317000fff2601"), b"abc" * 100),
        (MATCHES + b"a" + match(1, 10) + b"\x0f\xff\x00\x00" + struct.pack("<I", 99_997), b"a" * 100_001),
        (b"\0\0\0\0" + b"abc", b"abc"),
        (b"\0\0\0\0" + b"b" * 32, b"b" * 32),
    ],
    ids=["literals", "one match", "a length of four bytes", "zeros at the end", "no flags at the end"],
)
def test_blocks_of_other_packers_are_understood(packed: bytes, plain: bytes) -> None:
    """The examples of the specification, a length no block of ours has, and ends that say less than they might."""
    assert unpack(block(packed, len(plain))) == plain


def test_a_block_may_have_a_mebibyte() -> None:
    """Exactly; one byte more is in the other table."""
    longest = MATCHES + b"a" + match(1, 10) + b"\x0f\xff\x00\x00" + struct.pack("<I", LONGEST_BLOCK - 4)
    assert unpack(block(longest, LONGEST_BLOCK)) == b"a" * LONGEST_BLOCK


# --- what is not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\1", "ends inside block 1"),
        (struct.pack("<II", 5, 5) + b"four", "ends inside block 1"),
        (pack(b"whole") + pack(b"a" * 99)[:-1], "ends inside block 2"),
        (struct.pack("<II", LONGEST_BLOCK + 1, 9), "block 1 of the compressed answer has 1048577 bytes"),
        (struct.pack("<II", 9, 2**32 - 1), "has 4294967295 bytes, more than 1048576"),
        (pack(b"fine") + struct.pack("<II", 2**32 - 1, 9), "block 2 "),
        (block(b"", 5), "it has 0 bytes, not the 5 it says"),
        (block(b"\0\0\0\0abc", 4), "it has 3 bytes, not the 4"),
        (block(b"\0\0\0\0abc", 2), "it has 3 bytes, not the 2"),
        (block(b"\0\0", 4), "it ends early"),
        (block(MATCHES + b"a" + b"\1", 9), "it ends early"),
        (block(MATCHES + b"a" + match(1, 10), 99), "it ends early"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f", 99), "it ends early"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f\xff\1", 99), "it ends early"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f\xff\0\0\1\1", 99), "it ends early"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f\xff\x15\0", 99), "shorter than it may be"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f\xff\0\0\0\0\0\0", 99), "shorter than it may be"),
        (block(MATCHES + b"a" + match(2, 3), 4), "a match begins before the block"),
        (block(ONES + match(1, 3), 3), "a match begins before the block"),
        (block(MATCHES + b"a" + match(1, 5), 5), "more than the 5 bytes it says"),
        (block(MATCHES + b"a" + match(1, 10) + b"\x0f\xff\0\0" + ONES, 99), "more than the 99 bytes it says"),
    ],
)
def test_a_block_that_is_not_what_it_says_is_an_invalid_answer(body: bytes, reason: str) -> None:
    """Truncated, too long, or of another length: the same error as for other wrong answers, naming the block."""
    with pytest.raises(InvalidAnswer, match=reason):
        unpack(body)


@given(st.binary(max_size=80), st.integers(0, 200))
def test_noise_is_decompressed_to_what_it_says_or_refused(packed: bytes, plain: int) -> None:
    """Nothing else ever leaves the reader."""
    try:
        out = unpack(block(packed, plain))
    except InvalidAnswer:
        return
    assert len(out) == plain


def test_a_bomb_comes_block_by_block() -> None:
    """Thousands of blocks of a mebibyte fit into one piece; a caller that stops has had no more than it took."""
    longest = MATCHES + b"a" + match(1, 10) + b"\x0f\xff\x00\x00" + struct.pack("<I", LONGEST_BLOCK - 4)
    blocks = XpressReader().feed(block(longest, LONGEST_BLOCK) * 3_000)
    assert [len(next(blocks)) for _ in range(2)] == [LONGEST_BLOCK] * 2
