"""SOAP of the virtual upstream: calls are read whatever their prefixes, answers have WSUS's shape."""

from __future__ import annotations

import pytest

from mdm.lab.soap import (
    Call,
    ErrorCode,
    Fault,
    Members,
    Unreadable,
    element,
    envelope,
    fault_envelope,
    read_call,
    text_element,
)

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SD = "http://www.microsoft.com/SoftwareDistribution"


def read(body: str) -> Call:
    """Read what stands in a soap:Body."""
    return read_call(f'<s:Envelope xmlns:s="{SOAP}"><s:Body>{body}</s:Body></s:Envelope>'.encode())


@pytest.mark.parametrize(
    "body",
    [
        f'<GetConfigData xmlns="{SD}"><configAnchor>a</configAnchor></GetConfigData>',
        f'<x:GetConfigData xmlns:x="{SD}"><x:configAnchor> a </x:configAnchor></x:GetConfigData>',
        f'\n <GetConfigData xmlns="{SD}">\n  <configAnchor>a</configAnchor>\n </GetConfigData>\n',
        f'<GetConfigData xmlns="{SD}"><configAnchor>a</configAnchor></GetConfigData><Second xmlns="{SD}"/>',
    ],
)
def test_the_first_element_is_the_call(body: str) -> None:
    """Prefixes, indentation and what follows make no difference."""
    call = read(body)
    assert (call.name, call.operation) == ("sd:GetConfigData", "GetConfigData")
    assert call.arguments.text("configAnchor") == "a"


def test_members_of_another_namespace_are_not_seen() -> None:
    """Names alone are not enough."""
    call = read(f'<GetConfigData xmlns="{SD}"><configAnchor xmlns="urn:x">a</configAnchor></GetConfigData>')
    assert call.arguments.text("configAnchor") is None


MEMBERS = Members(
    {
        "sd:text": " a ",
        "sd:empty": None,
        "sd:number": "-7",
        "sd:yes": "true",
        "sd:no": "0",
        "sd:twice": ["a", "b"],
        "sd:one": {"sd:guid": "a"},
        "sd:many": {"sd:guid": ["a", "b"]},
        "sd:holes": {"sd:guid": ["a", None]},
        "sd:records": {"sd:item": [{"sd:text": "1"}, {"sd:text": "2"}]},
    }
)


def test_values_are_read_by_type() -> None:
    """Texts are stripped, an empty one is none; numbers and booleans have XML Schema's forms."""
    assert MEMBERS.text("text") == "a"
    assert MEMBERS.text("empty") is MEMBERS.text("absent") is None
    assert MEMBERS.integer("number") == -7
    assert (MEMBERS.flag("yes"), MEMBERS.flag("no"), MEMBERS.flag("absent", default=True)) == (
        True,
        False,
        True,
    )


def test_an_empty_element_is_there_but_an_absent_one_is_not() -> None:
    """The difference decides what a filter selects."""
    assert (MEMBERS.has("empty"), MEMBERS.has("absent"), Members(None).has("empty")) == (True, False, False)


def test_arrays_of_one_and_of_many_read_alike() -> None:
    """Absent and empty arrays have no items."""
    assert MEMBERS.texts("one", "guid") == ["a"]
    assert MEMBERS.texts("many", "guid") == ["a", "b"]
    assert MEMBERS.texts("empty", "guid") == MEMBERS.texts("absent", "guid") == []
    assert [item.text("text") for item in MEMBERS.items("records", "item")] == ["1", "2"]
    assert MEMBERS.members("one").text("guid") == "a"


@pytest.mark.parametrize(
    "read_it",
    [
        lambda: MEMBERS.text("twice"),
        lambda: MEMBERS.required("absent"),
        lambda: MEMBERS.integer("text"),
        lambda: MEMBERS.flag("text"),
        lambda: MEMBERS.flag("absent"),
        lambda: MEMBERS.texts("holes", "guid"),
    ],
)
def test_what_has_the_wrong_type_is_unreadable(read_it: object) -> None:
    """Twice where once is meant, missing, or of another type."""
    assert callable(read_it)
    with pytest.raises(Unreadable):
        read_it()


def test_elements_are_written_as_dotnet_writes_them() -> None:
    """Empty ones with a blank before the slash; quotes stay, markup and carriage returns do not."""
    assert element("a", ()) == text_element("a", "") == "<a />"
    assert element("a", (text_element("b", "1"), "<c />"), ' x="y"') == '<a x="y"><b>1</b><c /></a>'
    assert text_element("a", "<\"'&\r\n>") == "<a>&lt;\"'&amp;&#xD;\n&gt;</a>"


def test_an_answer_without_result_is_one_empty_element() -> None:
    """DownloadFiles answers so."""
    assert b'<soap:Body><DownloadFilesResponse xmlns="urn:x" /></soap:Body>' in envelope(
        "urn:x", "DownloadFiles", None
    )


def test_faults_print_for_a_log() -> None:
    """Code, and the message if there is one."""
    assert str(Fault(ErrorCode.SERVER_BUSY)) == "ServerBusy"
    assert str(Fault(ErrorCode.INVALID_PARAMETERS, "filter")) == "InvalidParameters: filter"


def test_a_fault_without_code_says_what_could_not_be_read() -> None:
    """The text is escaped, the detail empty."""
    content = fault_envelope(Unreadable("<x>"), actor="http://a/", fault_id="1", action="")
    assert (
        b"<faultstring>Server was unable to read request. ---&gt; &lt;x&gt;</faultstring><detail />"
        in content
    )
