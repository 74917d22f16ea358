"""Which authorities our own TLS accepts devices' certificates from: those of the database, new ones too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin
from mdm.ca.authority import install
from mdm.ca.chain import Material
from mdm.clock import utc_now
from mdm.errors import Unavailable
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox
from mdm.tls.trust import ClientTrust

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Forge, Issued, Service

BOX = SecretBox(b"k" * 32)


def store(database: Database, issuer: Issued, root: Issued | None = None) -> None:
    """Make it the authority of the database, below a root or as its own."""
    material = Material(
        issuer.key,
        (root or issuer).certificate,
        None if root is None else issuer.certificate,
    )
    with database.write() as conn:
        install(conn, Origin("test"), BOX, material, kind="imported", instead=True, now=utc_now())


def test_an_authority_made_later_is_accepted(
    database: Database, forge: Forge, serve: Callable[..., Service]
) -> None:
    """Without a restart; and one that replaces it takes nothing away from the devices that have the old one."""
    service = serve()
    assert service.context is not None
    trust = ClientTrust(database, service.context)
    assert trust.work() is False
    root = forge.authority("root")
    issuing, later = forge.authority("issuing", root), forge.authority("later")
    first, second = forge.device("first", issuing), forge.device("second", later)
    assert service.get(first)[1]["certificate"] is None
    store(database, issuing, root)
    assert trust.work() is False
    assert service.get(first)[1]["certificate"] == first.sha256
    store(database, later)
    trust.work()
    trust.work()
    assert [service.get(device)[1]["certificate"] for device in (first, second)] == [
        first.sha256,
        second.sha256,
    ]
    assert len(service.context.get_ca_certs()) == 2


def test_the_thread_sees_it_by_itself(
    sqlite_database: Database, forge: Forge, serve: Callable[..., Service]
) -> None:
    """Between `start` and `stop`, when it is woken or its time has come."""
    service = serve()
    assert service.context is not None
    store(sqlite_database, forge.authority("root"))
    trust = ClientTrust(sqlite_database, service.context)
    trust.start()
    trust.stop()
    assert len(service.context.get_ca_certs()) == 1


def test_a_database_that_is_away_changes_nothing(serve: Callable[..., Service]) -> None:
    """The worker waits and tries again."""
    context = serve().context
    assert context is not None
    with pytest.raises(Unavailable):
        ClientTrust(Database("postgresql://nobody@127.0.0.1:9/none"), context).work()
    assert context.get_ca_certs() == []
