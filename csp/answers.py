"""What Gets of single leaves have brought: one text each, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from syncml.exchange import Answer

__all__ = ["NOT_LOOKED_AT", "leaf_texts", "text_of"]

NOT_LOOKED_AT: Final = frozenset({StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS})
"""The device wanted our credentials first: it has not looked at the command, and will be asked again."""


def text_of(answer: Answer) -> str | None:
    """The text a Get brought, without blanks around it; None without success, Results, or text in them."""
    if not is_success(answer.status or 0):
        return None
    texts = ((item.data or "").strip() for item in answer.items)
    return next((text for text in texts if text), None)


def leaf_texts(answers: Iterable[Answer], uris: Collection[str]) -> Mapping[str, str | None]:
    """The texts of these addresses, of those that were asked for and looked at; None for a leaf without text.

    Among the answers there may be any others; one without a status tells nothing and is left out.
    """
    return {
        answer.request.loc_uri: text_of(answer)
        for answer in answers
        if answer.request.verb == "Get"
        and answer.request.loc_uri in uris
        and answer.status is not None
        and answer.status not in NOT_LOOKED_AT
    }
