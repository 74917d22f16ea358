"""Keys, an authority in the database, and requests as Windows writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdm.audit import Origin
from mdm.ca.authority import Authority, install
from mdm.ca.certificates import build_intermediate, build_root
from mdm.ca.chain import Material
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.storage.engine import Database


@pytest.fixture(scope="session")
def device_private() -> rsa.RSAPrivateKey:
    """The key of a device."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def device_public(device_private: rsa.RSAPrivateKey) -> bytes:
    """Its SubjectPublicKeyInfo."""
    return device_private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def box() -> SecretBox:
    """The key file's secret box."""
    return SecretBox(b"k" * 32)


@pytest.fixture
def origin() -> Origin:
    """Who asks."""
    return Origin("command-line")


@pytest.fixture
def material(now: datetime) -> Callable[..., Material]:
    """Makes authorities, of curves because those keys are made at once."""

    def make(
        name: str = "Example", *, intermediate: bool = True, days: float = 3650, root_days: float = 3650
    ) -> Material:
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = build_root(root_key, name, intermediates=1, now=now, not_after=now + timedelta(root_days))
        if not intermediate:
            return Material(root_key, root, None)
        key = ec.generate_private_key(ec.SECP256R1())
        below = build_intermediate(
            key, "Devices", issuer=root, issuer_key=root_key, now=now, not_after=now + timedelta(days)
        )
        return Material(key, root, below)

    return make


@pytest.fixture
def authority(
    database: Database,
    box: SecretBox,
    origin: Origin,
    material: Callable[..., Material],
    now: datetime,
) -> Authority:
    """An authority with an intermediate, in the database."""
    with database.write() as conn:
        return install(conn, origin, box, material(), kind="created", instead=False, now=now)
