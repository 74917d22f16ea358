"""In which order the devices of a gradual offer get their turn: by a hash, so that nothing is stored per device."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

__all__ = ["TURNS", "turn_of"]

TURNS: Final = 2**62
"""Turns are below this: a signed 64-bit column holds one more than the last."""

_SPARE_BITS: Final = 2


def turn_of(rollout_id: str, device_id: str) -> int:
    """The device's turn in this rollout, 0 to `TURNS` - 1, by its public id.

    The same on every node and for ever, and in each rollout another order: no device is always among the first.
    """
    digest = blake2b(f"{rollout_id} {device_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> _SPARE_BITS
