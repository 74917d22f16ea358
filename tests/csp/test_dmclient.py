"""The DMClient trees are whole, and polling schedules that would fail are explained before they are sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.dmclient import DMCLIENT_TREE, PROVIDER, provider_leaf, provider_uri, validate, validate_together
from csp.errors import InvalidLocURI, InvalidValue
from csp.tree import Access, Node, Occurrence, Scope, children_of
from csp.values import Choice, Flags, Number, Range, Truth

NODES = {node.path: node for node in DMCLIENT_TREE}
AT = f"./Device/Vendor/MSFT/DMClient/Provider/{PROVIDER}"

nodes = pytest.mark.parametrize("node", DMCLIENT_TREE, ids=lambda node: node.path)


def test_both_trees_are_whole() -> None:
    """15 nodes for a user and 94 for a device, none twice, each below one that stands before it."""
    assert len(DMCLIENT_TREE) == len(NODES) == 109
    assert sum(path.startswith("./User/") for path in NODES) == 15
    seen: set[str] = set()
    for node in DMCLIENT_TREE:
        assert node.parent in seen or node.name == "DMClient"
        seen.add(node.path)


@nodes
def test_every_row_is_consistent(node: Node) -> None:
    """Only interior nodes have children, actions have no format, and what can be written says what is allowed."""
    assert (node.format == "node") == bool(children_of(node, DMCLIENT_TREE))
    assert (node.format == "null") <= (Access.EXEC in node.access)
    if node.access & Access.REPLACE:
        assert node.allowed is not None
    if node.occurrence is Occurrence.ZERO_OR_ONE:
        assert node.scope is Scope.DYNAMIC
    if node.allowed is not None and node.default is not None:
        assert node.allowed.objection(node.default) is None


@nodes
def test_numbers_have_rules_for_numbers(node: Node) -> None:
    """A writable int is a number and a writable bool a truth value, but for the one the DDF has wrong."""
    if node.access & Access.REPLACE and node.format == "int":
        assert isinstance(node.allowed, Choice | Flags | Number | Range)
    if node.access & Access.REPLACE and node.format == "bool":
        assert isinstance(node.allowed, Choice if node.name == "ForceAadToken" else Truth)


def test_one_setting_excludes_another() -> None:
    """The list of servers takes the place of the single address."""
    (need,) = NODES[f"{AT}/ManagementServiceAddress"].needs
    assert (need.name, need.absent) == ("ManagementServerAddressList", True)


@pytest.mark.parametrize(
    ("provider", "name", "uri"),
    [
        ("ExampleMDM", "Unenroll", "./Device/Vendor/MSFT/DMClient/Provider/ExampleMDM/Unenroll"),
        (
            "MS DM Server",
            "Poll/NumberOfFirstRetries",
            "./Device/Vendor/MSFT/DMClient/Provider/MS%20DM%20Server/Poll/NumberOfFirstRetries",
        ),
        ("a/b", "UPN", "./Device/Vendor/MSFT/DMClient/Provider/a%2fb/UPN"),
    ],
)
def test_a_setting_has_its_address(provider: str, name: str, uri: str) -> None:
    """The server's name is escaped, whatever it is."""
    assert provider_uri(provider, name) == uri
    assert provider_leaf(provider, name) == uri.replace("./Device/", "./")


def test_what_has_no_address_is_refused() -> None:
    """A name that is no setting, and a server's name that no address can have."""
    with pytest.raises(InvalidValue, match=r"^'Poll/Never' is not a setting of a management server\.$"):
        provider_uri("ExampleMDM", "Poll/Never")
    with pytest.raises(InvalidLocURI):
        provider_uri("", "UPN")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SyncApplicationVersion", "5.0"),
        ("SyncApplicationVersion", "3"),
        ("Poll/IntervalForFirstSetOfRetries", "15"),
        ("Poll/NumberOfFirstRetries", "0"),
        ("Poll/PollOnLogin", "true"),
        ("ForceAadToken", "4"),
        ("ConfigRefresh/Cadence", "30"),
        ("FirstSyncStatus/BlockInStatusPage", "7"),
        ("FirstSyncStatus/ExpectedPolicies", "./a\uf000./b"),
        ("Recovery/InitiateRecovery", "1"),
        ("EntDeviceName", ""),
    ],
)
def test_legal_values_pass(name: str, value: str) -> None:
    """Numbers, truth values, versions, flags and text, each in its form."""
    validate(name, value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "SyncApplicationVersion",
            "10.0",
            "SyncApplicationVersion is '10.0', but must be a version such as 5.0.",
        ),
        (
            "Poll/NumberOfFirstRetries",
            "-1",
            "NumberOfFirstRetries is '-1', but must be a whole number from 0 to 2147483647.",
        ),
        ("Poll/PollOnLogin", "1", "PollOnLogin is '1', but must be true or false."),
        ("ConfigRefresh/Cadence", "29", "Cadence is '29', but must be a whole number from 30 to 1440."),
        (
            "FirstSyncStatus/BlockInStatusPage",
            "8",
            "BlockInStatusPage is '8', but must be 0 or a sum of 1, 2, 4.",
        ),
        ("EntDeviceName", "\x07", "EntDeviceName is '\\x07', but must be text without control characters."),
        ("MaxSyncApplicationVersion", "5.0", "MaxSyncApplicationVersion can only be read."),
        ("LinkedEnrollment/EnrollStatus", "4", "EnrollStatus can only be read."),
        ("Poll", "x", "Poll takes no value from a server."),
        ("Unenroll", "ExampleMDM", "Unenroll takes no value from a server."),
        ("PollOnLogin", "true", "'PollOnLogin' is not a setting of a management server."),
    ],
)
def test_wrong_values_are_explained(name: str, value: str, sentence: str) -> None:
    """One sentence names the setting, the value and what would be right."""
    with pytest.raises(InvalidValue) as caught:
        validate(name, value)
    assert caught.value.detail == sentence


def poll(*numbers: int | str | None) -> dict[str, str]:
    """The six settings of the Poll node, interval and number in turn; None leaves one out."""
    names = (
        "IntervalForFirstSetOfRetries",
        "NumberOfFirstRetries",
        "IntervalForSecondSetOfRetries",
        "NumberOfSecondRetries",
        "IntervalForRemainingScheduledRetries",
        "NumberOfRemainingScheduledRetries",
    )
    return {
        f"Poll/{name}": str(value) for name, value in zip(names, numbers, strict=True) if value is not None
    }


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"Poll/PollOnLogin": "true"},
        # 5 times every 15 minutes, 10 times every hour, then daily for ever
        poll(15, 5, 60, 10, 1440, 0),
        # what Intune does in the field
        poll(3, 5, 15, 8, 480, 0),
        # the second schedule for ever, the third off
        poll(15, 8, 480, 0, 0, 0),
        # the first off, with its default number
        poll(0, None, 480, 0, 0, 0),
        # with Windows' defaults for the first
        poll(None, None, None, None, 1440, 0),
        # `validate` is the one that speaks of these
        poll(15, "x", 0, 0, 0, 0),
        poll("", 0, 0, 0, 0, 0),
        {"ManagementServiceAddress": "https://a.test"},
        {"ManagementServerAddressList": "<https://a.test><https://b.test>"},
    ],
)
def test_settings_that_go_together_pass(values: dict[str, str]) -> None:
    """Schedules of which one repeats for ever bring no sentence, nor does what is not about schedules."""
    assert validate_together(values) == ()


NEVER_ENDS = "repeats that schedule for ever."
DAILY = "No schedule repeats for ever, so Windows adds one of its own every 24 hours."
ALL_ZERO = "All three numbers of retries are 0, with which the enrolment may fail."


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        (poll(0, 0, 0, 0, 0, 0), (ALL_ZERO,)),
        (poll(15, 0, 60, 0, 1440, 0), (ALL_ZERO,)),
        (poll(0, 0, None, None, None, None), (ALL_ZERO,)),
        (poll(15, 8, 3, 5, 0, 0), (DAILY,)),
        (poll(15, None, None, None, None, None), (DAILY,)),
        (
            poll(1, 0, None, 5, None, None),
            (
                "NumberOfSecondRetries has no effect while IntervalForSecondSetOfRetries is 0.",
                "NumberOfFirstRetries is 0, but the first schedule must not repeat for ever.",
            ),
        ),
        (
            poll(1, 0, 60, 10, None, None),
            (
                f"IntervalForSecondSetOfRetries has no effect, because NumberOfFirstRetries is 0, which {NEVER_ENDS}",
                "NumberOfFirstRetries is 0, but the first schedule must not repeat for ever.",
            ),
        ),
        (
            poll(15, 5, 60, 0, 1440, 0),
            (
                (
                    "IntervalForRemainingScheduledRetries has no effect, because NumberOfSecondRetries is 0, "
                    f"which {NEVER_ENDS}"
                ),
            ),
        ),
        (
            poll(0, 10, 0, 0, 1440, 0),
            ("NumberOfFirstRetries has no effect while IntervalForFirstSetOfRetries is 0.",),
        ),
        (
            {"ManagementServiceAddress": "https://a.test", "ManagementServerAddressList": "https://b.test"},
            ("ManagementServiceAddress has no effect while ManagementServerAddressList is set.",),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named(
    values: dict[str, str], problems: tuple[str, ...]
) -> None:
    """What would keep devices away, what Windows changes, and what it ignores is one sentence each."""
    assert validate_together(values) == problems


SMALL = st.none() | st.sampled_from([0, 1, 15, 1440])


@given(st.tuples(SMALL, SMALL, SMALL, SMALL, SMALL, SMALL))
def test_what_passes_keeps_the_device_coming(numbers: tuple[int | None, ...]) -> None:
    """Schedules without a sentence have one that repeats for ever, and it is not the first."""
    values = poll(*numbers)
    if not values or validate_together(values):
        return
    defaults = (15, 10, 0, 0, 0, 0)
    found = [default if number is None else number for number, default in zip(numbers, defaults, strict=True)]
    endless = [interval > 0 and count == 0 for interval, count in zip(found[::2], found[1::2], strict=True)]
    assert not endless[0]
    assert any(endless)
