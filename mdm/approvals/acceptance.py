"""Which acceptances still hold: those of a text that is the current one.

A EULA is accepted once per EulaID. When newer metadata names another file for the language and country that
was accepted, the text has changed: from then on the acceptance is history, and nothing with this EULA goes to a
device until somebody has accepted the new text. Texts that only gain a language change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_

from mdm.storage.statements import table_of
from mdm.storage.tables import EulaAcceptance, EulaText

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Mapped

__all__ = ["acceptance_holds", "eula_accepted"]

_acceptance = table_of(EulaAcceptance)
_text = table_of(EulaText)


def eula_accepted(eula_id: ColumnElement[Any] | Mapped[Any]) -> ColumnElement[bool]:
    """Return the condition that somebody has accepted the EULA of this column as it is now."""
    return exists().where(_acceptance.c.eula_id == eula_id, acceptance_holds())


def acceptance_holds() -> ColumnElement[bool]:
    """Return the condition on a row of the ledger that the text it names has not been replaced."""
    replaced = exists().where(
        _text.c.eula_id == _acceptance.c.eula_id,
        _text.c.locale == _acceptance.c.locale,
        _text.c.geo_id == _acceptance.c.geo_id,
        _text.c.current,
        # not fetched yet is changed as well: another digest is another text
        or_(_text.c.text_sha256.is_(None), _text.c.text_sha256 != _acceptance.c.text_sha256),
    )
    return ~replaced
