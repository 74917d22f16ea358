"""HRESULTs are one number in many spellings, and the common ones have words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidValue
from csp.hresult import (
    ADVICE,
    MEANINGS,
    advise,
    describe,
    explain,
    find_hresult,
    format_hresult,
    parse_hresult,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-2145124318", 0x80240022),
        ("2149842978", 0x80240022),
        ("0x80240022", 0x80240022),
        ("0X8024002c", 0x8024002C),
        (" -2147024784\n", 0x80070070),
        ("-2147483648", 0x80000000),
        ("4294967295", 0xFFFFFFFF),
        ("-1", 0xFFFFFFFF),
        ("0x0000000080070005", 0x80070005),
        ("2359302", 0x00240006),
    ],
)
def test_every_spelling_reads_as_one_number(text: str, expected: int) -> None:
    """Signed, unsigned and hexadecimal text give the unsigned 32-bit number."""
    assert parse_hresult(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "0x", "-0x1", "+1", "1.0", "1_0", "80070005h", "٣", "- 1", "0x1234567890abcdef0", "1" * 5000],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """Rubbish, and numbers of absurd length, are InvalidValue."""
    with pytest.raises(InvalidValue, match="is not an HRESULT"):
        parse_hresult(text)


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1])
def test_numbers_beyond_32_bits_are_refused(value: int) -> None:
    """Neither reading nor writing nor describing cuts a number off."""
    with pytest.raises(InvalidValue, match="32 bits"):
        parse_hresult(str(value))
    with pytest.raises(InvalidValue, match="32 bits"):
        format_hresult(value)
    with pytest.raises(InvalidValue, match="32 bits"):
        describe(value)


def test_it_is_written_with_eight_capital_digits() -> None:
    """`0x%08X`, for signed and unsigned numbers."""
    assert format_hresult(0x240006) == "0x00240006"
    assert format_hresult(-2145124318) == format_hresult(0x80240022) == "0x80240022"


@given(st.integers(0, 0xFFFFFFFF))
def test_any_hresult_survives_writing_and_reading(value: int) -> None:
    """All three spellings of a number read back as it."""
    signed = value - (1 << 32) if value >= 1 << 31 else value
    assert parse_hresult(format_hresult(value)) == value
    assert parse_hresult(str(value)) == value
    assert parse_hresult(str(signed)) == value
    assert format_hresult(signed) == format_hresult(value)
    assert describe(signed) == describe(value)


@pytest.mark.parametrize("text", ["0x86000002", "-2046820350", " 2248146946\n"])
def test_what_a_device_wrote_is_explained(text: str) -> None:
    """msft:originalerror in any spelling has the words of its number."""
    assert explain(text) == describe(0x86000002) == "The device has no such setting."


@pytest.mark.parametrize("text", [None, "", "busy", "0x8F000001", "0x123456789"])
def test_what_nobody_knows_is_not_explained(text: str | None) -> None:
    """No text, no HRESULT and an unknown one are all None, for what a peer writes never raises here."""
    assert explain(text) is None


@given(st.text())
def test_any_text_is_an_hresult_or_invalid(text: str) -> None:
    """No text raises anything but InvalidValue."""
    try:
        value = parse_hresult(text)
    except InvalidValue:
        return
    assert 0 <= value <= 0xFFFFFFFF


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0x80070070, "disk space"),
        (-2147024784, "disk space"),
        (0x80240022, "every update"),
        (0x80240017, "applies"),
        (0x800F081F, "source files"),
        (0x80073712, "component store"),
        (0x80072EE2, "timed out"),
        (0x8024402C, "resolved"),
        (0x80242014, "restart"),
        (0xC1900200, "minimum requirements"),
        (0, "No failure"),
    ],
)
def test_common_codes_have_words(value: int, word: str) -> None:
    """The sentence says what Microsoft's page says."""
    assert word in (describe(value) or "")


def test_an_unknown_code_has_no_words() -> None:
    """Nothing is made up for a code outside the table."""
    assert describe(0x8FFFFFFF) is None


def test_every_meaning_is_one_sentence_of_its_own() -> None:
    """Each entry is a plain sentence, and no two codes share one, so that a typing error shows."""
    assert len(MEANINGS) >= 40
    assert len(set(MEANINGS.values())) == len(MEANINGS)
    for value, words in MEANINGS.items():
        assert 0 <= value <= 0xFFFFFFFF
        assert words[0].isupper()
        assert words.endswith(".")
        assert ". " not in words


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0x80240016, "Restart the device"),
        (-2145124330, "Restart the device"),
        (0x80070070, "disk space"),
        (0x80073712, "RestoreHealth"),
        (0x80072EE7, "name resolution"),
        (0xC1900101, "drivers"),
        (0x86000011, "edition lacks it"),
    ],
)
def test_common_codes_have_advice(value: int, word: str) -> None:
    """What to try first, for signed and unsigned numbers."""
    assert word in (advise(value) or "")


@pytest.mark.parametrize("value", [0, 0x8FFFFFFF])
def test_no_advice_where_there_is_none_to_give(value: int) -> None:
    """Neither for success nor for what nobody knows."""
    assert advise(value) is None


def test_every_failure_with_a_meaning_has_advice() -> None:
    """Who is told what went wrong is told what to do, in one sentence."""
    assert ADVICE.keys() == MEANINGS.keys() - {0}
    for sentence in ADVICE.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert ". " not in sentence


@pytest.mark.parametrize("value", [1 << 32, -(1 << 31) - 1])
def test_advice_is_given_for_32_bits_only(value: int) -> None:
    """As meanings are."""
    with pytest.raises(InvalidValue, match="32 bits"):
        advise(value)


@given(
    st.one_of(
        st.text(max_size=12),
        st.integers(-(1 << 33), 1 << 33).map(str),
        st.integers(0, 1 << 33).map(hex),
        st.sampled_from([" -1 ", "0XFFFFFFFF", "0x100000000", "-2147483649", "4294967296"]),
    )
)
def test_what_is_found_is_what_is_read(text: str) -> None:
    """None stands for whatever reading refuses, and for nothing else."""
    try:
        expected: int | None = parse_hresult(text)
    except InvalidValue:
        expected = None
    assert find_hresult(text) == expected
