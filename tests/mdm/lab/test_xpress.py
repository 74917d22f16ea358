"""The content coding `xpress`, read back by a decoder written from the specification."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.xpress import pack


def decompress(data: bytes) -> bytes:
    """Plain LZ77 as MS-XCA 2.4.4 reads it."""
    out = bytearray()
    flags = count = position = 0
    nibble_at = 0
    while True:
        if count == 0:
            (flags,) = struct.unpack_from("<I", data, position)
            position += 4
            count = 32
        count -= 1
        if not flags & 1 << count:
            out.append(data[position])
            position += 1
            continue
        if position == len(data):
            return bytes(out)
        (match,) = struct.unpack_from("<H", data, position)
        position += 2
        length, distance = match % 8, match // 8 + 1
        if length == 7:
            if nibble_at == 0:
                length = data[position] % 16
                nibble_at = position
                position += 1
            else:
                length = data[nibble_at] // 16
                nibble_at = 0
            if length == 15:
                length = data[position]
                position += 1
                if length == 255:
                    (length,) = struct.unpack_from("<H", data, position)
                    position += 2
                    length -= 15 + 7
                length += 15
            length += 7
        for _ in range(length + 3):
            out.append(out[-distance])


def unpack(body: bytes) -> bytes:
    """All blocks."""
    out = bytearray()
    while body:
        plain, packed = struct.unpack_from("<II", body)
        block, body = body[8 : 8 + packed], body[8 + packed :]
        out += block if plain == packed else decompress(block)
        assert plain <= 16_352
    return bytes(out)


@given(st.binary(max_size=600) | st.lists(st.sampled_from([b"abc", b"abcd", b"x", b"yz" * 40])).map(b"".join))
def test_whatever_is_packed_can_be_read(data: bytes) -> None:
    """Noise and repetition, in one block."""
    assert unpack(pack(data)) == data


@pytest.mark.parametrize(
    "length", [*range(3, 45), 270, 287, 288, 289, 290, 300, 10_000, 16_352, 16_353, 40_000]
)
def test_matches_of_every_length_can_be_read(length: int) -> None:
    """The ways a length is written differ at 10, 25 and 280; two matches share a byte."""
    data = b"abc" + b"a" * length + b"0123456789" + b"b" * length + b"abc"
    assert unpack(pack(data)) == data


def test_a_list_of_ids_becomes_much_shorter() -> None:
    """What the coding is for."""
    ids = (hashlib.md5(bytes([n]), usedforsecurity=False).hexdigest() for n in range(200))
    text = "".join(f"<UpdateIdentity><UpdateID>{each}</UpdateID></UpdateIdentity>" for each in ids).encode()
    assert len(pack(text)) < len(text) * 0.7
    assert unpack(pack(text)) == text


def test_noise_is_stored_as_it_is() -> None:
    """Equal lengths say so; eight bytes for each block are all it costs."""
    noise = hashlib.shake_128(b"noise").digest(20_000)
    assert len(pack(noise)) == 20_000 + 2 * 8
    assert unpack(pack(noise)) == noise
    assert pack(b"") == b""


def test_a_match_reaches_back_8192_bytes_and_no_further() -> None:
    """The same four bytes, found at the limit, and not beyond it."""
    filler = hashlib.shake_128(b"filler").digest(8_188)
    near, far = b"<ab>" + filler + b"<ab>", b"<ab>" + filler + b"!" + b"<ab>"
    assert unpack(pack(near)) == near
    assert unpack(pack(far)) == far
