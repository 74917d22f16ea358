"""Criteria: what they are read from, what they say of an update, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Invalid
from mdm.queries.criteria import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, UpdateRecord, parse_criteria

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
DRIVERS = "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0"
WINDOWS_11 = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
NAMES = {SECURITY: "Security Updates", WINDOWS_11: "Windows 11"}

KNOWN = UpdateRecord(
    update_id="a317dafe-baf4-453f-b232-a7075efae36e",
    title="2026-11 Cumulative Update for Windows 11 (KB5041585)",
    as_of=NOW,
    description="Fixes CVE-2026-12345 and cve-2026-0001.",
    classification_id=SECURITY,
    categories=frozenset({SECURITY, WINDOWS_11}),
    severity="Important",
    kb_all=frozenset({"5041585", "17"}),
    bulletin="MS26-011",
    languages=frozenset({"en", "de"}),
    created=NOW - timedelta(days=11, hours=6),
    needed_by=5,
    size=3 * 1024 * 1024,
    reboot="CanRequestReboot",
    names=NAMES,
)
SILENT = UpdateRecord(
    update_id="b317dafe-baf4-453f-b232-a7075efae36e", title="A driver", as_of=NOW, update_type="Driver"
)


def holds(document: Any, record: UpdateRecord = KNOWN) -> bool | None:
    """What the criteria say of an update."""
    return parse_criteria(document).holds(record)


def because(document: Any, record: UpdateRecord = KNOWN) -> str:
    """Why they say so."""
    return parse_criteria(document).because(record)


CASES: list[tuple[Any, bool | None, bool | None]] = [
    ({"classification": SECURITY.upper()}, True, None),
    ({"classification": f"{{{DRIVERS}}}"}, False, None),
    ({"classification": [DRIVERS, SECURITY]}, True, None),
    ({"product": WINDOWS_11}, True, False),
    ({"product": DRIVERS}, False, False),
    ({"severity": "important"}, True, False),
    ({"severity": ["Critical", "Unspecified"]}, False, True),
    ({"severity": {"at_least": "Moderate"}}, True, False),
    ({"severity": {"at_least": "Critical"}}, False, False),
    ({"severity": {"at_least": "Unspecified"}}, True, True),
    ({"kb": "KB5041585"}, True, False),
    ({"kb": ["kb9", "17"]}, True, False),
    ({"kb": "504158"}, False, False),
    ({"title": "*windows 11*"}, True, False),
    ({"title": ["a*", "b*"]}, False, True),
    ({"title": "2026-11 cumulative"}, False, False),
    ({"bulletin": "ms26-*"}, True, False),
    ({"bulletin": "MS25-*"}, False, False),
    ({"cve": "CVE-2026-12345"}, True, None),
    ({"cve": "cve-2026-0001"}, True, None),
    ({"cve": "CVE-2026-1234"}, False, None),
    ({"language": "DE"}, True, None),
    ({"language": ["fr", "en"]}, True, None),
    ({"language": "fr"}, False, None),
    ({"type": "driver"}, False, True),
    ({"age_days": {"min": 11}}, True, None),
    ({"age_days": {"min": 11.25, "max": 11.25}}, True, None),
    ({"age_days": {"min": 12}}, False, None),
    ({"age_days": {"max": 11}}, False, None),
    ({"superseded": False}, True, True),
    ({"superseded": True}, False, False),
    ({"expired": False}, True, True),
    ({"expired": True}, False, False),
    ({"needed_by": {"at_least": 5}}, True, False),
    ({"needed_by": {"at_least": 6}}, False, False),
    ({"size_mb": {"min": 3, "max": 3}}, True, None),
    ({"size_mb": {"max": 2.9}}, False, None),
    ({"reboot": "canrequestreboot"}, True, None),
    ({"reboot": ["NeverReboots", "AlwaysRequiresReboot"]}, False, None),
    ({"not": {"severity": "Low"}}, True, True),
    ({"not": {"classification": DRIVERS}}, True, None),
    ({"all": [{"superseded": False}, {"severity": "Important"}]}, True, False),
    ({"all": [{"superseded": False}, {"reboot": "CanRequestReboot"}]}, True, None),
    ({"any": [{"superseded": True}, {"reboot": "CanRequestReboot"}]}, True, None),
    ({"any": [{"type": "Driver"}, {"kb": "17"}]}, True, True),
]


@pytest.mark.parametrize(("document", "expected"), [(each[0], each[1:]) for each in CASES])
def test_what_criteria_say(document: Any, expected: tuple[bool | None, bool | None]) -> None:
    """Of an update that says all, and of one that says nothing: unknown is neither yes nor no."""
    assert (holds(document), holds(document, SILENT)) == expected


@pytest.mark.parametrize("document", [each[0] for each in CASES])
def test_every_answer_has_a_reason(document: Any) -> None:
    """One phrase, never empty, whatever the answer."""
    for record in (KNOWN, SILENT):
        phrase = because(document, record)
        assert 0 < len(phrase) <= 300
        assert not phrase.endswith(".")


@pytest.mark.parametrize(
    ("document", "phrase"),
    [
        ({"classification": DRIVERS}, "its classification is Security Updates"),
        ({"not": {"product": WINDOWS_11}}, "it is for the product Windows 11"),
        ({"product": DRIVERS}, "it is for none of these products"),
        ({"severity": "Critical"}, "its severity is Important"),
        ({"kb": "9"}, "it belongs to none of these KB articles"),
        ({"not": {"kb": "17"}}, "it belongs to KB 17"),
        ({"title": "x"}, 'its title is "2026-11 Cumulative Update for Windows 11 (KB5041585)"'),
        ({"bulletin": "x"}, "it belongs to no such security bulletin"),
        ({"not": {"bulletin": "*"}}, "its bulletin is MS26-011"),
        ({"cve": "cve-1999-*"}, "it names no such CVE"),
        ({"not": {"cve": "*"}}, "it names cve-2026-0001, cve-2026-12345"),
        ({"language": "fr"}, "it does not describe itself in this language"),
        ({"type": "Driver"}, "its type is Software"),
        ({"age_days": {"min": 12}}, "it was released 11 days ago"),
        ({"superseded": True}, "it is not superseded"),
        ({"expired": True}, "Microsoft has not withdrawn it"),
        ({"needed_by": {"at_least": 9}}, "it is needed by 5 devices"),
        ({"size_mb": {"max": 1}}, "its size is 3.0 MB"),
        ({"reboot": "NeverReboots"}, "its reboot behaviour is CanRequestReboot"),
        (
            {"all": [{"superseded": False}, {"severity": "Low"}, {"kb": "9"}]},
            "its severity is Important",
        ),
        (
            {"any": [{"superseded": True}, {"severity": "Low"}]},
            "it is not superseded; its severity is Important",
        ),
        ({"any": [{"severity": "Low"}, {"superseded": False}]}, "it is not superseded"),
        ({"not": {"all": [{"type": "Software"}, {"kb": "17"}]}}, "its type is Software; it belongs to KB 17"),
    ],
)
def test_why(document: Any, phrase: str) -> None:
    """The fact that decides, in words."""
    assert because(document) == phrase


@pytest.mark.parametrize(
    ("document", "phrase"),
    [
        ({"classification": DRIVERS}, "its classification is not known yet"),
        ({"age_days": {"min": 1}}, "its release date is not known"),
        ({"size_mb": {"min": 1}}, "its size is not known"),
        ({"reboot": "NeverReboots"}, "it does not say whether it needs a reboot"),
        ({"cve": "*"}, "it has no description that could name a CVE"),
        ({"language": "de"}, "nobody knows in which languages it describes itself"),
        ({"all": [{"superseded": False}, {"size_mb": {"min": 1}}]}, "its size is not known"),
        ({"any": [{"superseded": True}, {"size_mb": {"min": 1}}]}, "its size is not known"),
    ],
)
def test_why_nobody_knows(document: Any, phrase: str) -> None:
    """The fact that is missing, in words."""
    assert holds(document, SILENT) is None
    assert because(document, SILENT) == phrase


def test_edges_of_facts() -> None:
    """An update from the future has no age yet; one in every language is in each; a bulletin may be a CVE's place."""
    assert holds({"age_days": {"max": 0}}, replace(KNOWN, created=NOW + timedelta(days=3))) is True
    assert holds({"language": "ja"}, replace(KNOWN, languages=frozenset({"all"}))) is True
    assert holds({"cve": "cve-2026-7777*"}, replace(SILENT, title="For CVE-2026-77777")) is True
    assert because({"needed_by": {"at_least": 9}}, replace(KNOWN, needed_by=1)) == "it is needed by 1 device"
    many = replace(KNOWN, kb_all=frozenset("12345"))
    assert because({"kb": list("12345")}, many) == "it belongs to KB 1, 2, 3 and 2 more"
    assert len(because({"title": "x"}, replace(KNOWN, title="t" * 900))) == 300


# --- logic ----------------------------------------------------------------------------------------------

LEAVES: list[dict[str, Any]] = [
    {"superseded": False},
    {"superseded": True},
    {"classification": SECURITY},
    {"size_mb": {"max": 2}},
    {"reboot": "NeverReboots"},
    {"severity": "Important"},
]
DOCUMENTS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(lambda found: {"all": found}),
        st.lists(inner, min_size=1, max_size=4).map(lambda found: {"any": found}),
        inner.map(lambda found: {"not": found}),
    ),
    max_leaves=8,
)
RECORDS = st.builds(
    lambda **facts: replace(KNOWN, **facts),
    superseded=st.booleans(),
    classification_id=st.sampled_from([None, SECURITY, DRIVERS]),
    size=st.sampled_from([None, 1, 10**9]),
    reboot=st.sampled_from([None, "NeverReboots", "CanRequestReboot"]),
    severity=st.sampled_from([None, "Important"]),
)
VALUE = {False: 0.0, None: 0.5, True: 1.0}
ANSWER = {value: answer for answer, value in VALUE.items()}


def kleene(document: Any, record: UpdateRecord) -> float:
    """Kleene's strong logic: all is the least, any the greatest, not the rest to one."""
    ((kind, inner),) = document.items()
    if kind == "all":
        return min(kleene(each, record) for each in inner)
    if kind == "any":
        return max(kleene(each, record) for each in inner)
    return 1 - kleene(inner, record) if kind == "not" else VALUE[holds(document, record)]


@given(document=DOCUMENTS.filter(lambda found: depth(found) <= MAX_DEPTH), record=RECORDS)
def test_the_logic_is_kleenes(document: Any, record: UpdateRecord) -> None:
    """Whatever is combined, of whatever is known; and the reason is there each time."""
    assert holds(document, record) is ANSWER[kleene(document, record)]
    assert because(document, record)


@given(document=DOCUMENTS.filter(lambda found: depth(found) < MAX_DEPTH), record=RECORDS)
def test_what_becomes_known_never_turns_an_answer_round(document: Any, record: UpdateRecord) -> None:
    """An answer that did not need a fact stays when the fact is told: unknown never matches by luck."""
    answer = holds(document, record)
    told = replace(
        record,
        classification_id=record.classification_id or SECURITY,
        size=record.size or 1,
        reboot=record.reboot or "NeverReboots",
    )
    if answer is not None:
        assert holds(document, told) is answer
    assert holds({"not": document}, record) is (None if answer is None else not answer)


def depth(document: Any) -> int:
    """How deep the criteria stand."""
    ((kind, inner),) = document.items()
    if kind in {"all", "any"}:
        return 1 + max(depth(each) for each in inner)
    return 1 + depth(inner) if kind == "not" else 1


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (None, "", "wrong_type"),
        ([], "", "wrong_type"),
        ({}, "", "wrong_type"),
        ({"kb": "1", "title": "x"}, "", "wrong_type"),
        ({"colour": "red"}, "/colour", "unknown_member"),
        ({"a/b": "red"}, "/a~1b", "unknown_member"),
        ({"all": {}}, "/all", "wrong_type"),
        ({"all": []}, "/all", "too_short"),
        ({"any": [{"kb": "1"}] * 201}, "/any", "too_long"),
        ({"any": [{"kb": "1"}, {"kb": "x"}]}, "/any/1/kb", "invalid_value"),
        ({"not": []}, "/not", "wrong_type"),
        ({"classification": "x"}, "/classification", "invalid_guid"),
        ({"classification": 7}, "/classification", "wrong_type"),
        ({"product": []}, "/product", "too_short"),
        ({"product": [SECURITY, None]}, "/product/1", "wrong_type"),
        ({"kb": ["1"] * (MAX_VALUES + 1)}, "/kb", "too_long"),
        ({"kb": "KB"}, "/kb", "invalid_value"),
        ({"kb": "12345678901"}, "/kb", "invalid_value"),
        ({"severity": "Awful"}, "/severity", "invalid_value"),
        ({"severity": {}}, "/severity/at_least", "required"),
        ({"severity": {"at_least": "Awful"}}, "/severity/at_least", "invalid_value"),
        ({"severity": {"at_most": "Low"}}, "/severity/at_most", "unknown_member"),
        ({"title": ""}, "/title", "too_short"),
        ({"title": "a\x00b"}, "/title", "control_character"),
        ({"title": "x" * 201}, "/title", "too_long"),
        ({"cve": 1}, "/cve", "wrong_type"),
        ({"language": "d"}, "/language", "invalid_value"),
        ({"language": "deutsch!"}, "/language", "invalid_value"),
        ({"type": "Category"}, "/type", "invalid_value"),
        ({"reboot": "never"}, "/reboot", "invalid_value"),
        ({"age_days": {}}, "/age_days", "required"),
        ({"age_days": 3}, "/age_days", "wrong_type"),
        ({"age_days": {"min": -1}}, "/age_days/min", "invalid_value"),
        ({"age_days": {"min": 5, "max": 4}}, "/age_days/max", "invalid_value"),
        ({"age_days": {"min": True}}, "/age_days/min", "wrong_type"),
        ({"age_days": {"about": 3}}, "/age_days/about", "unknown_member"),
        ({"size_mb": {"max": 10**9}}, "/size_mb/max", "invalid_value"),
        ({"needed_by": {"at_least": 0}}, "/needed_by/at_least", "invalid_value"),
        ({"needed_by": {"at_least": 2**40}}, "/needed_by/at_least", "invalid_value"),
        ({"needed_by": {"at_least": 1.5}}, "/needed_by/at_least", "wrong_type"),
        ({"needed_by": {}}, "/needed_by/at_least", "required"),
        ({"superseded": "no"}, "/superseded", "wrong_type"),
        ({"expired": None}, "/expired", "wrong_type"),
    ],
)
def test_what_is_wrong_is_named(document: Any, pointer: str, code: str) -> None:
    """By its pointer, with a code and a sentence."""
    with pytest.raises(Invalid) as problem:
        parse_criteria(document)
    (error,) = problem.value.errors
    assert (error.pointer, error.code) == (f"/criteria{pointer}", code)
    assert error.detail.endswith(".")


def test_all_that_is_wrong_is_named_at_once() -> None:
    """Of a list, each member."""
    with pytest.raises(Invalid) as problem:
        parse_criteria({"all": [{"kb": "x"}, {"superseded": True}, {"title": 1}]}, "/query")
    assert [error.pointer for error in problem.value.errors] == ["/query/all/0/kb", "/query/all/2/title"]


def test_the_bounds() -> None:
    """Neither deep nor long criteria can hold the service up."""
    nested: Any = {"superseded": True}
    for _ in range(MAX_DEPTH - 1):
        nested = {"not": nested}
    assert holds(nested) is not None
    with pytest.raises(Invalid) as problem:
        parse_criteria({"not": nested})
    assert problem.value.errors[0].code == "too_deep"
    half = {"any": [{"superseded": True}] * (MAX_CONDITIONS // 2)}
    with pytest.raises(Invalid) as problem:
        parse_criteria({"all": [half, half]})
    assert (problem.value.errors[0].pointer, problem.value.errors[0].code) == ("/criteria", "too_long")


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["all", "not", "kb", "age_days", "min", "severity", "title"]),
                inner,
                max_size=2,
            )
        ),
        max_leaves=10,
    )
)
def test_whatever_is_given_it_is_read_or_refused(document: Any) -> None:
    """Nothing else comes out of the reader, and what it reads answers of every update."""
    try:
        criterion = parse_criteria(document)
    except Invalid:
        return
    assert criterion.holds(KNOWN) in {True, False, None}
    assert criterion.because(SILENT)
