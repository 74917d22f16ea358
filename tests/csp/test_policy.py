"""Policies know what they accept, and say what is wrong in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidValue
from csp.policy import (
    ACCESS,
    OCCURRENCE,
    POLICIES,
    Choice,
    Date,
    Policy,
    Range,
    Text,
    canonical,
    policy_uri,
    result_uri,
    same_value,
    validate,
    validate_together,
)
from csp.tree import Access, Occurrence

SOURCES = [
    f"SetPolicyDrivenUpdateSourceFor{kind}Updates" for kind in ("Driver", "Feature", "Other", "Quality")
]

policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RequireUpdateApproval", "1"),
        ("RequireUpdateApproval", "0"),
        ("BranchReadinessLevel", "128"),
        ("ActiveHoursStart", "0"),
        ("ActiveHoursStart", "23"),
        ("DeferFeatureUpdatesPeriodInDays", "365"),
        ("PauseQualityUpdatesStartTime", "2028-02-29"),
        ("ProductVersion", "Windows 11"),
        ("TargetReleaseVersion", "22H2"),
        ("TargetReleaseVersion", "2"),
        ("UpdateServiceUrl", "http://abcd-srv:8530"),
        ("UpdateServiceUrlAlternate", "https://wsus.example.test/content"),
    ],
)
def test_legal_values_pass(name: str, value: str) -> None:
    """Both ends of a range, each member of a set, and well-formed text are accepted."""
    validate(name, value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RequireUpdateApproval", "2", "RequireUpdateApproval is '2', but must be one of 0, 1."),
        ("RequireUpdateApproval", "", "RequireUpdateApproval is '', but must be one of 0, 1."),
        ("RequireUpdateApproval", "01", "RequireUpdateApproval is '01', but must be one of 0, 1."),
        ("RequireUpdateApproval", "true", "RequireUpdateApproval is 'true', but must be one of 0, 1."),
        (
            "BranchReadinessLevel",
            "3",
            "BranchReadinessLevel is '3', but must be one of 2, 4, 8, 16, 32, 64, 128.",
        ),
        ("ActiveHoursStart", "24", "ActiveHoursStart is '24', but must be a whole number from 0 to 23."),
        ("ActiveHoursStart", "-1", "ActiveHoursStart is '-1', but must be a whole number from 0 to 23."),
        ("ActiveHoursStart", " 8", "ActiveHoursStart is ' 8', but must be a whole number from 0 to 23."),
        ("ActiveHoursStart", "٣", "ActiveHoursStart is '٣', but must be a whole number from 0 to 23."),
        ("ActiveHoursMaxRange", "7", "ActiveHoursMaxRange is '7', but must be a whole number from 8 to 18."),
        (
            "DeferFeatureUpdatesPeriodInDays",
            "9" * 5000,
            f"DeferFeatureUpdatesPeriodInDays is '{'9' * 119}…', but must be a whole number from 0 to 365.",
        ),
        (
            "PauseQualityUpdatesStartTime",
            "2026-02-30",
            "PauseQualityUpdatesStartTime is '2026-02-30', but is a day that does not exist.",
        ),
        (
            "PauseQualityUpdatesStartTime",
            "20260228",
            "PauseQualityUpdatesStartTime is '20260228', but must be a date written yyyy-mm-dd.",
        ),
        (
            "PauseFeatureUpdatesStartTime",
            "2026-11-21T00:00:00Z",
            "PauseFeatureUpdatesStartTime is '2026-11-21T00:00:00Z', but must be a date written yyyy-mm-dd.",
        ),
        (
            "TargetReleaseVersion",
            "22H2 ",
            "TargetReleaseVersion is '22H2 ', but must be a text that is not empty and has no blanks around it.",
        ),
        (
            "ProductVersion",
            "",
            "ProductVersion is '', but must be a text that is not empty and has no blanks around it.",
        ),
        (
            "UpdateServiceUrl",
            "CorpWSUS",
            "UpdateServiceUrl is 'CorpWSUS', but must be an http:// or https:// address.",
        ),
        (
            "UpdateServiceUrl",
            "http://",
            "UpdateServiceUrl is 'http://', but must be an http:// or https:// address.",
        ),
        ("NoSuchPolicy", "1", "'NoSuchPolicy' is not a policy of the area Update."),
        ("requireupdateapproval", "1", "'requireupdateapproval' is not a policy of the area Update."),
    ],
)
def test_wrong_values_are_explained(name: str, value: str, sentence: str) -> None:
    """One sentence names the policy, the value and what would be right."""
    with pytest.raises(InvalidValue) as caught:
        validate(name, value)
    assert caught.value.detail == sentence


@policies
def test_every_default_is_legal_unless_a_placeholder(policy: Policy) -> None:
    """Defaults pass the policy's own check; only the DDF's `CorpWSUS`, which must never be sent, does not."""
    if policy.default is None:
        assert policy.format == "chr"
        return
    wrong = policy.allowed.objection(policy.default) is not None
    assert wrong == (policy.default == "CorpWSUS")


@policies
def test_every_row_is_consistent(policy: Policy) -> None:
    """Numbers have numeric rules, text has text rules, and each row says something to IT."""
    if policy.format == "int":
        assert isinstance(policy.allowed, Choice | Range)
    else:
        assert policy.format == "chr"
        assert isinstance(policy.allowed, Date | Text)
    assert policy.description.endswith(".")
    assert ". " not in policy.description
    assert {need.name for need in policy.needs} <= POLICIES.keys() - {policy.name}
    assert policy.since
    assert POLICIES[policy.name] is policy


def test_the_area_is_whole() -> None:
    """75 policies of the DDF and the one only the page has."""
    assert len(POLICIES) == 76


def test_every_policy_node_may_be_written_and_reset() -> None:
    """Replace writes, Delete resets; an unset policy is not there."""
    assert ACCESS == Access.ADD | Access.DELETE | Access.GET | Access.REPLACE
    assert OCCURRENCE is Occurrence.ZERO_OR_ONE


def test_addresses_are_the_documented_ones() -> None:
    """Written under Config, read back merged under Result."""
    assert (
        policy_uri("RequireUpdateApproval")
        == "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval"
    )
    assert (
        result_uri("RequireUpdateApproval")
        == "./Device/Vendor/MSFT/Policy/Result/Update/RequireUpdateApproval"
    )


def test_there_is_no_address_for_an_unknown_policy() -> None:
    """A name outside the table cannot become part of an address."""
    with pytest.raises(InvalidValue):
        policy_uri("../Other")
    with pytest.raises(InvalidValue):
        result_uri("../Other")


@given(st.sampled_from(sorted(POLICIES)), st.text() | st.integers().map(str))
def test_any_value_is_legal_or_explained(name: str, value: str) -> None:
    """No text raises anything but InvalidValue."""
    if POLICIES[name].allowed.objection(value) is None:
        validate(name, value)
    else:
        with pytest.raises(InvalidValue, match=rf"^{name} is .*, but .*\.$"):
            validate(name, value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ActiveHoursStart": "8", "ActiveHoursEnd": "17"},
        {"ActiveHoursStart": "8", "ActiveHoursEnd": "2"},
        {"ActiveHoursStart": "22", "ActiveHoursEnd": "6", "ActiveHoursMaxRange": "8"},
        {"ActiveHoursMaxRange": "8"},
        {"TargetReleaseVersion": "22H2", "ProductVersion": "Windows 11"},
        {"ProductVersion": "Windows 11"},
        {"ScheduledInstallDay": "2", "ScheduledInstallTime": "4", "AllowAutoUpdate": "3"},
        {"DeferFeatureUpdatesPeriodInDays": "14", "BranchReadinessLevel": "8"},
        {"DeferFeatureUpdatesPeriodInDays": "365", "BranchReadinessLevel": "16"},
        {"ConfigureDeadlineGracePeriod": "2", "ConfigureDeadlineForFeatureUpdates": "5"},
        {"ConfigureDeadlineNoAutoReboot": "1", "ConfigureDeadlineForQualityUpdates": "5"},
        {"UpdateServiceUrl": "http://a.test", **dict.fromkeys(SOURCES, "0")},
        # `validate` is the one that speaks of these
        {"NoSuchPolicy": "1"},
        {"ScheduledInstallDay": "9"},
        {"ScheduledInstallDay": "2", "AllowAutoUpdate": "x"},
        {"DeferFeatureUpdatesPeriodInDays": "x", "BranchReadinessLevel": "8"},
        {"ActiveHoursStart": "99", "ActiveHoursEnd": "17"},
        {"ActiveHoursStart": "0", "ActiveHoursEnd": "20", "ActiveHoursMaxRange": "x"},
    ],
)
def test_values_that_go_together_pass(values: dict[str, str]) -> None:
    """A window up to the allowed length, also over midnight, and complete pairs bring no sentence."""
    assert validate_together(values) == ()


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        (
            {"ActiveHoursStart": "8", "ActiveHoursEnd": "3"},
            ("Active hours last 19 hours, more than ActiveHoursMaxRange, which is 18.",),
        ),
        (
            {"ActiveHoursStart": "22", "ActiveHoursEnd": "7", "ActiveHoursMaxRange": "8"},
            ("Active hours last 9 hours, more than ActiveHoursMaxRange, which is 8.",),
        ),
        ({"ActiveHoursStart": "8"}, ("ActiveHoursStart has no effect without ActiveHoursEnd.",)),
        ({"ActiveHoursEnd": "8"}, ("ActiveHoursEnd has no effect without ActiveHoursStart.",)),
        ({"TargetReleaseVersion": "22H2"}, ("TargetReleaseVersion has no effect without ProductVersion.",)),
        (
            {"FillEmptyContentUrls": "1", "DetectionFrequency": "4"},
            (
                "DetectionFrequency has no effect without UpdateServiceUrl.",
                "FillEmptyContentUrls has no effect without UpdateServiceUrlAlternate.",
            ),
        ),
        (
            {"UpdateServiceUrlAlternate": "http://b.test"},
            ("UpdateServiceUrlAlternate has no effect without UpdateServiceUrl.",),
        ),
        (
            {"ScheduledInstallTime": "4", "AllowAutoUpdate": "2"},
            ("ScheduledInstallTime has no effect unless AllowAutoUpdate is 3 or 4.",),
        ),
        (
            {"ScheduledInstallTime": "4"},
            ("ScheduledInstallTime has no effect unless AllowAutoUpdate is 3 or 4.",),
        ),
        (
            {"NoUpdateNotificationsDuringActiveHours": "1", "UpdateNotificationLevel": "0"},
            (
                "NoUpdateNotificationsDuringActiveHours has no effect unless UpdateNotificationLevel is 1 or 2.",
            ),
        ),
        (
            {"ConfigureDeadlineGracePeriod": "2"},
            (
                (
                    "ConfigureDeadlineGracePeriod has no effect without "
                    "ConfigureDeadlineForQualityUpdates or ConfigureDeadlineForFeatureUpdates."
                ),
            ),
        ),
        (
            {"ConfigureDeadlineGracePeriodForFeatureUpdates": "2", "ConfigureDeadlineForQualityUpdates": "3"},
            (
                (
                    "ConfigureDeadlineGracePeriodForFeatureUpdates has no effect without "
                    "ConfigureDeadlineForFeatureUpdates."
                ),
            ),
        ),
        (
            {"UpdateServiceUrl": "http://a.test", **dict.fromkeys(SOURCES[:2], "0")},
            (f"The four update sources belong together, but not set: {SOURCES[2]}, {SOURCES[3]}.",),
        ),
        (
            {"DeferFeatureUpdatesPeriodInDays": "15", "BranchReadinessLevel": "2"},
            ("DeferFeatureUpdatesPeriodInDays is 15, but at most 14 on a pre-release channel.",),
        ),
    ],
)
def test_values_that_do_not_go_together_are_named(values: dict[str, str], problems: tuple[str, ...]) -> None:
    """Each contradiction or missing partner is one sentence."""
    assert validate_together(values) == problems


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("AllowAutoUpdate", "2", "2"),
        ("AllowAutoUpdate", " 02\r\n", "2"),
        ("AllowAutoUpdate", "+2", "2"),
        ("AllowAutoUpdate", "-0", "0"),
        ("AllowAutoUpdate", "two", "two"),
        ("AllowAutoUpdate", "2.0", "2.0"),
        ("AllowAutoUpdate", "\u0662", "\u0662"),
        ("AllowAutoUpdate", "9" * 5000, "9" * 5000),
        ("AllowAutoUpdate", "", ""),
        ("TargetReleaseVersion", " 0022 ", "0022"),
        ("UpdateServiceUrl", "http://WSUS:8530", "http://WSUS:8530"),
    ],
)
def test_one_value_has_one_form(name: str, text: str, expected: str) -> None:
    """Numbers as numbers, texts as they are, and nothing that is no number raises."""
    assert canonical(name, text) == expected
    assert canonical(name, expected) == expected


def test_values_are_compared_by_what_they_mean() -> None:
    """`07` is 7, None is only None, and the text of a text policy counts letter by letter."""
    assert same_value("ActiveHoursStart", "07", "7")
    assert not same_value("ActiveHoursStart", "7", "8")
    assert same_value("ActiveHoursStart", None, None)
    assert not same_value("ActiveHoursStart", None, "7")
    assert not same_value("ActiveHoursStart", "7", None)
    assert not same_value("TargetReleaseVersion", "22H2", "22h2")
    with pytest.raises(InvalidValue):
        same_value("NoSuchPolicy", "1", "1")


@policies
def test_every_legal_value_is_canonical(policy: Policy) -> None:
    """What IT may write is what is compared: a plan never writes a value anew because of its spelling."""
    legal = [
        text
        for text in (*map(str, range(200)), "2026-11-21", "https://wsus.test")
        if not policy.allowed.objection(text)
    ]
    assert legal
    assert [canonical(policy.name, text) for text in legal] == legal
