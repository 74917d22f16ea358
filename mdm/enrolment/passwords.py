"""Passwords of enrolment users: Argon2id (RFC 9106), with the parameters inside each stored text."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from mdm.errors import FieldError, Invalid

__all__ = ["MAX_PASSWORD", "hash_password", "make_password", "password_matches"]

MAX_PASSWORD: Final = 200
_MIN_PASSWORD: Final = 12

# The least that OWASP recommends: 19 MiB and two passes; some 30 ms of one core.
_MEMORY: Final = 19 * 1024
_PASSES: Final = 2
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_MADE_BYTES: Final = 15


def make_password() -> str:
    """A password of 120 random bits."""
    return secrets.token_urlsafe(_MADE_BYTES)


def hash_password(password: str) -> str:
    """The text to store; raises Invalid for a password that is too short, too long or cannot be typed."""
    wrong = None
    if not _MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        wrong = f"must have {_MIN_PASSWORD} to {MAX_PASSWORD} characters"
    elif not password.isprintable() or password != password.strip():
        wrong = "must have no control characters, and no blanks around it"
    if wrong is not None:
        raise Invalid(
            "The password is wrong.", errors=(FieldError("/password", "invalid_value", f"It {wrong}."),)
        )
    return _hashed(password)


def password_matches(password: str, stored: str | None) -> bool:
    """Whether it is the password that was hashed; without a stored one it takes as long, and is not.

    So nobody learns from the time of an answer which users there are.
    """
    try:
        Argon2id.verify_phc_encoded(password[:MAX_PASSWORD].encode(), stored or _nobodys())
    except InvalidKey:
        return False
    return stored is not None and len(password) <= MAX_PASSWORD


def _hashed(password: str) -> str:
    kdf = Argon2id(
        salt=secrets.token_bytes(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_PASSES,
        lanes=1,
        memory_cost=_MEMORY,
    )
    return kdf.derive_phc_encoded(password.encode())


@cache
def _nobodys() -> str:
    """The hash that stands in for that of a user who does not exist."""
    return _hashed(secrets.token_urlsafe(_MADE_BYTES))
