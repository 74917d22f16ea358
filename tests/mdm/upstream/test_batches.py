"""GetUpdateData for many revisions, against upstreams that fail a whole call for one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.upstream.batches import BatchResult, fetch_in_batches, missing_revisions
from mdm.upstream.errors import AnswerTimeout, AnswerTooLarge, InvalidAnswer, SoapFault, TransportError
from mdm.upstream.messages import UpdateData, UpdateIdentity, UpdateRecord, UrlData

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def identity(number: int) -> UpdateIdentity:
    """The n-th revision of the tests."""
    return UpdateIdentity(f"00000000-0000-4000-8000-{number:012x}", 100 + number)


MANY = tuple(identity(number) for number in range(100))


@dataclass
class Upstream:
    """An upstream that knows everything but `unknown`, and counts what it is asked."""

    unknown: frozenset[UpdateIdentity] = frozenset()
    named: bool = False
    """Name the missing revisions, as Microsoft Update does."""
    answers: int = 10_000
    """Records in one answer at most."""
    calls: list[int] = field(default_factory=list)

    def __call__(self, asked: Sequence[UpdateIdentity]) -> UpdateData:
        """Answer GetUpdateData."""
        self.calls.append(len(asked))
        missing = [each for each in asked if each in self.unknown]
        if missing and self.named:
            message = (
                f"Requested {len(asked)} returned {len(asked) - len(missing)} (test content removed: 0). "
                f"Missing Revisions: {' '.join(f'{each.update_id.upper()}.{each.revision_number}' for each in missing)}"
            )
            raise SoapFault("InternalServerError", message, None)
        if missing:
            raise SoapFault("InternalServerError", "", None)
        records = tuple(UpdateRecord(each, f"<{each}/>", None) for each in asked[: self.answers])
        return UpdateData(records[::-1], tuple(UrlData(str(each), "u", None) for each in asked))


def fetch(
    upstream: Callable[[Sequence[UpdateIdentity]], UpdateData],
    asked: Sequence[UpdateIdentity],
    batch_size: int = 100,
) -> BatchResult:
    """All batches as one result."""
    results = list(fetch_in_batches(upstream, asked, batch_size))
    return BatchResult(
        tuple(record for result in results for record in result.found),
        tuple(each for result in results for each in result.not_offered),
        tuple(each for result in results for each in result.refused),
        tuple(each for result in results for each in result.failed),
        tuple(url for result in results for url in result.file_urls),
    )


def found(result: BatchResult) -> set[UpdateIdentity]:
    """The identities that were found."""
    return {record.identity for record in result.found}


def test_batches_are_no_larger_than_told_and_ids_are_asked_once() -> None:
    """Duplicates are dropped: a server would return them twice."""
    upstream = Upstream()
    result = fetch(upstream, MANY + MANY[:7], batch_size=30)
    assert upstream.calls == [30, 30, 30, 10]
    assert found(result) == set(MANY)
    assert {url.file_digest for url in result.file_urls} == {str(each) for each in MANY}


def test_nothing_asked_is_nothing_fetched() -> None:
    """No call is made for an empty list; a silly batch size counts as one."""
    upstream = Upstream()
    assert list(fetch_in_batches(upstream, (), 100)) == []
    assert found(fetch(upstream, MANY[:2], batch_size=0)) == set(MANY[:2])
    assert upstream.calls == [1, 1]


def test_named_missing_revisions_cost_one_more_call() -> None:
    """Microsoft Update names them, in any case."""
    upstream = Upstream(unknown=frozenset(MANY[::10]), named=True)
    result = fetch(upstream, MANY)
    assert upstream.calls == [100, 90]
    assert set(result.not_offered) == set(MANY[::10])
    assert found(result) == set(MANY) - set(MANY[::10])


def test_if_all_are_named_missing_there_is_no_second_call() -> None:
    """There is nothing left to ask for."""
    upstream = Upstream(unknown=frozenset(MANY), named=True)
    assert set(fetch(upstream, MANY).not_offered) == set(MANY)
    assert upstream.calls == [100]


def test_an_anonymous_fault_is_halved_to_the_culprit() -> None:
    """A WSUS names nobody: one unknown in a hundred costs fifteen calls."""
    upstream = Upstream(unknown=frozenset({MANY[37]}))
    result = fetch(upstream, MANY)
    assert (result.not_offered, result.refused) == ((), (MANY[37],))
    assert found(result) == set(MANY) - {MANY[37]}
    assert len(upstream.calls) <= 15


def test_an_upstream_that_refuses_everything_is_left_alone() -> None:
    """After ten refusals, if it has given nothing at all; one that has given something is asked to the end."""
    ill = Upstream(unknown=frozenset(MANY))
    with pytest.raises(InvalidAnswer, match="gives nothing of what it lists"):
        list(fetch_in_batches(ill, MANY, 20, breaker=10))
    assert len(ill.calls) <= 30
    well = Upstream(unknown=frozenset(MANY[1:]))
    results = list(fetch_in_batches(well, MANY, 20, breaker=10))
    assert sum(len(result.refused) for result in results) == 99


def test_a_server_that_names_others_each_time_is_halved() -> None:
    """Named revisions are believed once per part; after that the parts shrink."""
    calls: list[int] = []

    def fickle(asked: Sequence[UpdateIdentity]) -> UpdateData:
        calls.append(len(asked))
        if len(asked) > 1:
            raise SoapFault("InternalServerError", f"Missing Revisions: {asked[0]}", None)
        return UpdateData((UpdateRecord(asked[0], "", None),), ())

    result = fetch(fickle, MANY)
    assert found(result) | set(result.not_offered) == set(MANY)
    assert len(calls) < 150


def test_a_short_answer_is_completed() -> None:
    """Windows stops at 2,000,000 bytes: the rest is asked for again."""
    upstream = Upstream(answers=40)
    result = fetch(upstream, MANY)
    assert found(result) == set(MANY)
    assert upstream.calls == [100, 60, 20]


def test_an_empty_answer_is_halved_until_it_is_certain() -> None:
    """A server that answers with nothing at all may still have single ones."""
    asked: list[int] = []

    def only_singles(identities: Sequence[UpdateIdentity]) -> UpdateData:
        asked.append(len(identities))
        records = tuple(UpdateRecord(each, "", None) for each in identities)
        return UpdateData(records if len(identities) == 1 and identities[0] != MANY[2] else (), ())

    result = fetch(only_singles, MANY[:4])
    assert found(result) == {MANY[0], MANY[1], MANY[3]}
    assert result.not_offered == (MANY[2],)
    assert asked == [4, 2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "problem",
    [
        AnswerTooLarge("too large"),
        AnswerTimeout("too late"),
        InvalidAnswer("not XML"),
        SoapFault("InvalidParameters", "updateIds", None),
        SoapFault("TooManyIds", "", None),
    ],
)
def test_what_a_smaller_batch_may_cure_is_halved(problem: Exception) -> None:
    """The batch shrinks until it goes; one that never goes fails alone, with the reason."""

    def moody(asked: Sequence[UpdateIdentity]) -> UpdateData:
        if len(asked) > 3 or MANY[5] in asked:
            raise problem
        return UpdateData(tuple(UpdateRecord(each, "", None) for each in asked), ())

    result = fetch(moody, MANY[:12])
    assert found(result) == set(MANY[:12]) - {MANY[5]}
    assert [(each.identity, each.reason) for each in result.failed] == [(MANY[5], str(problem))]
    assert result.not_offered == ()


@pytest.mark.parametrize(
    "problem",
    [
        SoapFault("InvalidCookie", "", None),
        SoapFault("ServerChanged", "", None),
        SoapFault(None, "", None),
        TransportError("refused"),
    ],
)
def test_what_no_smaller_batch_cures_is_raised(problem: Exception) -> None:
    """A failure of the upstream as a whole is not spread over its updates."""

    def dead(asked: Sequence[UpdateIdentity]) -> UpdateData:
        raise problem

    with pytest.raises(type(problem)):
        fetch(dead, MANY)


def test_records_nobody_asked_for_are_left_out() -> None:
    """An answer is matched by Id."""

    def generous(asked: Sequence[UpdateIdentity]) -> UpdateData:
        return UpdateData(tuple(UpdateRecord(each, "", None) for each in (*asked, MANY[50])), ())

    assert found(fetch(generous, MANY[:3])) == set(MANY[:3])


@given(
    unknown=st.frozensets(st.sampled_from(MANY)),
    named=st.booleans(),
    answers=st.integers(1, 120),
    batch_size=st.integers(1, 120),
)
def test_every_identity_ends_in_exactly_one_place(
    *, unknown: frozenset[UpdateIdentity], named: bool, answers: int, batch_size: int
) -> None:
    """Whatever is unknown and however short the answers, nothing is lost and nothing told twice."""
    upstream = Upstream(unknown=unknown, named=named, answers=answers)
    result = fetch(upstream, MANY, batch_size)
    places = [record.identity for record in result.found] + list(result.not_offered) + list(result.refused)
    assert sorted(places) == sorted(MANY)
    assert set(result.not_offered) | set(result.refused) == unknown
    assert result.failed == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", set()),
        ("updateIds", set()),
        (f"Requested 1 returned 0. {identity(1)}", set()),
        (
            f"Requested 3 returned 1 (test content removed: 0). Missing Revisions: {identity(1)}",
            {identity(1)},
        ),
        (f"missing revisions: {identity(1)},{identity(2)}; ", {identity(1), identity(2)}),
        (f"Missing Revisions: {str(identity(10)).upper()}", {identity(10)}),
    ],
)
def test_missing_revisions_are_read_from_the_message(message: str, expected: set[UpdateIdentity]) -> None:
    """Only what follows the words, however it is separated."""
    assert missing_revisions(message) == expected
