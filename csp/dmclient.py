"""The trees `./Device/Vendor/MSFT/DMClient` and `./User/…` as data, and what may be written into them.

Values are named by the path below `Provider/{ProviderID}`, such as `Poll/NumberOfFirstRetries`. Sources: the
DDF of the DMClient CSP, its page for what the DDF leaves open, and MS-MDM for the polling schedules.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidValue, quoted
from csp.locuri import LocURI
from csp.tree import Access, Merge, Need, Node, Occurrence, Scope, validate_value
from csp.values import Allowed, AnyText, Choice, Flags, Number, Range, Text, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DMCLIENT_TREE", "PROVIDER", "provider_leaf", "provider_uri", "validate", "validate_together"]

PROVIDER: Final = "{ProviderID}"
"""The segment of a `Node.path` that stands for the name of a management server on the device."""

_DEVICE: Final = "./Device/Vendor/MSFT/DMClient"
_USER: Final = "./User/Vendor/MSFT/DMClient"

_GET: Final = Access.GET
_EXEC: Final = Access.EXEC
_CHANGE: Final = Access.GET | Access.REPLACE
_BRANCH: Final = Access.ADD | Access.DELETE | Access.GET
_KEEP: Final = Access.ADD | Access.GET | Access.REPLACE
_ALL: Final = Access.ADD | Access.DELETE | Access.GET | Access.REPLACE
_ONE, _ZERO_OR_ONE = Occurrence.ONE, Occurrence.ZERO_OR_ONE
_PERMANENT, _DYNAMIC = Scope.PERMANENT, Scope.DYNAMIC

_ANY: Final = AnyText()
_NUMBER: Final = Number()
_TRUTH: Final = Truth()
# The CSP's delimiter is U+F000, which the DDF writes like this.
_URIS: Final = AnyText(r"\xF000")
_VERSION: Final = Text(r"([0-9]\.)?[0-9]", "a version such as 5.0")

_FIRST_SYNC: Final = "1709"
_TOKEN: Final = "W11 22H2 / W11 21H2+739 / 21H2+1766 / 21H1+1766 / 20H2+1766"  # noqa: S105 - Windows versions
_LINKED: Final = "W11 22H2 / W11 21H2+918 / 21H2+2193 / 21H1+2193 / 20H2+2193"
_RECOVERY: Final = "W11 22H2 / W11 21H2+1165"
_REFRESH: Final = "unreleased / W11 22H2+3235 / W11 21H2+2836"


def _row(
    path: str,
    format_: str,
    access: Access,
    since: str,
    description: str,
    *,
    allowed: Allowed | None = None,
    default: str | None = None,
    occurrence: Occurrence = _ZERO_OR_ONE,
    scope: Scope = _DYNAMIC,
    merge: Merge | None = None,
    needs: tuple[Need, ...] = (),
    ignores_case: bool = False,
) -> Node:
    return Node(
        path,
        format_,
        access,
        occurrence,
        scope,
        since,
        default,
        description,
        allowed=allowed,
        merge=merge,
        needs=needs,
        ignores_case=ignores_case,
    )


def _fixed(
    path: str,
    format_: str,
    access: Access,
    since: str,
    description: str,
    *,
    allowed: Allowed | None = None,
    default: str | None = None,
    ignores_case: bool = False,
) -> Node:
    return _row(
        path,
        format_,
        access,
        since,
        description,
        allowed=allowed,
        default=default,
        occurrence=_ONE,
        scope=_PERMANENT,
        ignores_case=ignores_case,
    )


def _trunk(root: str) -> tuple[Node, ...]:
    """The nodes above the settings of one management server."""
    return (
        _fixed(root, "node", _GET, "1507", "The management client of Windows."),
        _fixed(f"{root}/Provider", "node", _GET, "1507", "The management servers of this enrolment."),
        _row(
            f"{root}/Provider/{PROVIDER}",
            "node",
            _BRANCH,
            "1507",
            "All settings of one management server, under the name it was enrolled with.",
            allowed=_ANY,
        ),
    )


# fmt: off
def _expected(at: str) -> tuple[Node, ...]:
    """What the status page waits for, the same for a device and for a user."""
    return (
        _row(at, "node", _BRANCH, _FIRST_SYNC, "What the enrolment status page shows and waits for."),
        *(
            _row(f"{at}/{name}", "chr", _ALL, _FIRST_SYNC,
                 f"Addresses of the {what} that the page waits for.", allowed=_URIS, occurrence=_ONE)
            for name, what in (
                ("ExpectedPolicies", "policies"),
                ("ExpectedNetworkProfiles", "Wi-Fi and VPN profiles"),
                ("ExpectedMSIAppPackages", "MSI packages, each with its number of apps,"),
                ("ExpectedModernAppPackages", "app packages, each with its number of apps,"),
                ("ExpectedPFXCerts", "PFX certificates"),
                ("ExpectedSCEPCerts", "SCEP certificates"),
            )
        ),
    )


def _progress(at: str) -> tuple[Node, ...]:
    """How far provisioning is, the same for a device and for a user."""
    return (
        _fixed(f"{at}/ServerHasFinishedProvisioning", "bool", _CHANGE, _FIRST_SYNC,
               "true says once and for all that the server has sent everything.", allowed=_TRUTH),
        _fixed(f"{at}/IsSyncDone", "bool", _CHANGE, _FIRST_SYNC,
               "Whether the first synchronisation is over, which true ends for good.", allowed=_TRUTH),
        _fixed(f"{at}/WasDeviceSuccessfullyProvisioned", "int", _CHANGE, _FIRST_SYNC,
               "Whether provisioning failed with 0, succeeded with 1, or goes on with 2.", allowed=Choice((0, 1, 2))),
    )


_COLLECT: Final = "Whether the page offers the user to collect logs."
_ERROR_TEXT: Final = "Text that tells the user what to do after an error."


def _first_sync_of_user(at: str) -> tuple[Node, ...]:
    return (
        *_expected(at),
        *_progress(at),
        _fixed(f"{at}/AllowCollectLogsButton", "bool", _CHANGE, "1803", _COLLECT, allowed=_TRUTH, default="false",
               ignores_case=True),
        _fixed(f"{at}/CustomErrorText", "chr", _CHANGE, "1803", _ERROR_TEXT, allowed=_ANY, ignores_case=True),
    )


def _first_sync_of_device(at: str) -> tuple[Node, ...]:
    return (
        *_expected(at),
        _fixed(f"{at}/TimeOutUntilSyncFailure", "int", _CHANGE, _FIRST_SYNC,
               "Minutes that the page waits before it shows an error.", allowed=Range(1, 1440), default="60"),
        *_progress(at),
        _fixed(f"{at}/BlockInStatusPage", "int", _CHANGE, "1803",
               "Lets the user leave the page with 0, or keeps it and offers after a failure to reset with 1, to "
               "try again with 2 and to go on with 4.", allowed=Flags((1, 2, 4)), default="0", ignores_case=True),
        _row(f"{at}/AllowCollectLogsButton", "bool", _CHANGE, "1803", _COLLECT,
             allowed=_TRUTH, default="false", occurrence=_ONE, ignores_case=True),
        _row(f"{at}/CustomErrorText", "chr", _ALL, "1803", _ERROR_TEXT, allowed=_ANY, occurrence=_ONE,
             ignores_case=True),
        _fixed(f"{at}/SkipDeviceStatusPage", "bool", _CHANGE, "1803",
               "Whether the page for the device is left out while Windows is set up.", allowed=_TRUTH, default="true",
               ignores_case=True),
        _fixed(f"{at}/SkipUserStatusPage", "bool", _CHANGE, "1803",
               "Whether the page for the user is left out after the first login.", allowed=_TRUTH, default="true",
               ignores_case=True),
    )


def _identity(at: str) -> tuple[Node, ...]:
    """Who manages the device, and how the two speak."""
    return (
        _row(f"{at}/EntDeviceName", "chr", _ALL, "1507", "Name of the device in the administrators' console.",
             allowed=_ANY),
        _row(f"{at}/ExchangeID", "chr", _ALL, "1507", "Identifier of the device in the user's Exchange account.",
             allowed=_ANY),
        _row(f"{at}/EntDMID", "chr", _ALL, "1507", "Identifier that the server gave the device at enrolment.",
             allowed=_ANY),
        _row(f"{at}/SignedEntDMID", "chr", _ALL, "1507",
             "EntDMID signed with the certificate before its renewal, which proves that the device is the same.",
             allowed=_ANY),
        _row(f"{at}/CertRenewTimeStamp", "chr", _ALL, "1507", "When the device renewed its certificate.",
             allowed=_ANY),
        _row(f"{at}/PublisherDeviceID", "chr", _ALL, "1507",
             "Identifier of the device for the organisation's own apps.", allowed=_ANY),
        _row(f"{at}/ManagementServiceAddress", "chr", _CHANGE, "1507",
             "Address of the server, or several in angle brackets, for the sessions to come.", allowed=_ANY,
             needs=(Need("ManagementServerAddressList", absent=True),)),
        _row(f"{at}/UPN", "chr", _KEEP, "1507", "User principal name of the person who enrolled.", allowed=_ANY),
        _row(f"{at}/HelpPhoneNumber", "chr", _ALL, "1507", "Phone number of the help desk, shown to the user.",
             allowed=_ANY),
        _row(f"{at}/HelpWebsite", "chr", _ALL, "1507", "Web page of the help desk, shown to the user.", allowed=_ANY),
        _row(f"{at}/HelpEmailAddress", "chr", _ALL, "1507", "Mail address of the help desk, shown to the user.",
             allowed=_ANY),
        _row(f"{at}/RequireMessageSigning", "bool", _ALL, "1507",
             "true has the device sign each message in the header MDM-Signature.", allowed=_TRUTH, default="false"),
        _row(f"{at}/SyncApplicationVersion", "chr", _ALL, "1507",
             "Version of the session protocol to use; from 3.0 on the device tells the error behind a status.",
             allowed=_VERSION, default="1.0"),
        _row(f"{at}/MaxSyncApplicationVersion", "chr", _GET, "1507",
             "Newest version of the session protocol that the device knows."),
        _fixed(f"{at}/Unenroll", "null", _EXEC | _GET, "1507", "Ends the management of the device by this server."),
        _row(f"{at}/AADResourceID", "chr", _KEEP, "1507",
             "Application that the user's Entra token is asked for.", allowed=_ANY),
        _row(f"{at}/AADDeviceID", "chr", _GET, "1607", "Identifier of the device in Entra."),
        _row(f"{at}/EnrollmentType", "chr", _GET, "1607", "Whether the device or only a user is enrolled."),
        _row(f"{at}/EnableOmaDmKeepAliveMessage", "bool", _CHANGE, "1511",
             "true has the device ask for patience when an answer takes long.", allowed=_TRUTH, default="false"),
        _row(f"{at}/HWDevID", "chr", _GET, "1607", "Identifier made from the hardware."),
        _row(f"{at}/ManagementServerAddressList", "chr", _CHANGE, "1607",
             "Addresses of servers in angle brackets, tried in order, in place of ManagementServiceAddress.",
             allowed=_ANY),
        _row(f"{at}/CommercialID", "chr", _ALL, "1607",
             "Identifier of the organisation in diagnostic data, given out by Microsoft.", allowed=_ANY),
        _row(f"{at}/ManagementServerToUpgradeTo", "chr", _ALL, "1703",
             "Discovery address of the server that takes over a device enrolled for apps only.", allowed=_ANY),
        _row(f"{at}/NumberOfDaysAfterLostContactToUnenroll", "int", _ALL, "1709",
             "Days without a session after which the device ends its enrolment.", allowed=_NUMBER),
        _row(f"{at}/AADSendDeviceToken", "bool", _ALL, "1803",
             "true sends the device's Entra token when there is none of a user.", allowed=_TRUTH),
        # Format bool with the values of a number is what the DDF says.
        _row(f"{at}/ForceAadToken", "bool", _ALL, _TOKEN,
             "Sends the device's Entra token with each session, in a header with 1 and for authentication with 4.",
             allowed=Choice((0, 1, 2, 4, 8))),
    )


def _push(at: str) -> tuple[Node, ...]:
    return (
        _row(at, "node", _BRANCH, "1507", "Waking the device through the Windows notification service."),
        _row(f"{at}/PFN", "chr", _ALL, "1507", "Package family name that the server sends notifications with.",
             allowed=_ANY, occurrence=_ONE),
        _row(f"{at}/ChannelURI", "chr", _GET, "1507",
             "Address to send notifications to, which expires after 30 days.", occurrence=_ONE),
        _row(f"{at}/Status", "int", _GET, "1507", "0 if notifications work, else what is wrong with them.",
             occurrence=_ONE),
    )


def _poll(at: str) -> tuple[Node, ...]:
    return (
        _row(at, "node", _BRANCH, "1507", "Schedules by which the device opens sessions."),
        *(
            _row(f"{at}/{name}", "int", _ALL, "1507", description, allowed=_NUMBER)
            for name, description in (
                ("IntervalForFirstSetOfRetries", "Minutes between sessions right after enrolment, or 0 for none."),
                ("NumberOfFirstRetries", "Sessions right after enrolment, of which 0 would mean for ever."),
                ("IntervalForSecondSetOfRetries", "Minutes between sessions after the first set, or 0 for none."),
                ("NumberOfSecondRetries", "Sessions after the first set, or 0 for ever."),
                ("IntervalForRemainingScheduledRetries", "Minutes between sessions in the long run, or 0 for none."),
                ("NumberOfRemainingScheduledRetries", "Sessions in the long run, or 0 for ever."),
            )
        ),
        _row(f"{at}/PollOnLogin", "bool", _ALL, "1507", "true opens a session at each login of any user.",
             allowed=_TRUTH, default="false"),
        _row(f"{at}/AllUsersPollOnFirstLogin", "bool", _ALL, "1507",
             "true opens a session at the first login of each user.", allowed=_TRUTH, default="false"),
    )


def _end_page(at: str) -> tuple[Node, ...]:
    return (
        _row(at, "node", _BRANCH, "1703", "What the user reads at the end of the enrolment."),
        _row(f"{at}/Title", "chr", _ALL, "1703", "Heading of the last page.", allowed=_ANY),
        _row(f"{at}/BodyText", "chr", _ALL, "1703", "Text of the last page.", allowed=_ANY),
        _row(f"{at}/HyperlinkHref", "chr", _ALL, "1703", "Address of the link on the last page.", allowed=_ANY),
        _row(f"{at}/HyperlinkText", "chr", _ALL, "1703", "Text of the link on the last page.", allowed=_ANY),
    )


def _security(at: str) -> tuple[Node, ...]:
    """Signing and encrypting beyond TLS, and the lock of secured-core computers."""
    layer, lock = f"{at}/EnhancedAppLayerSecurity", f"{at}/ConfigLock"
    return (
        _row(layer, "node", _GET, "1709", "Signing and encrypting messages beyond TLS.", occurrence=_ONE),
        _row(f"{layer}/SecurityMode", "int", _ALL, "1709",
             "Leaves messages as they are with 0, signs with 1, encrypts with 2, and does both with 3.",
             allowed=Choice((0, 1, 2, 3)), default="0", occurrence=_ONE),
        _row(f"{layer}/UseCertIfRevocationCheckOffline", "bool", _ALL, "1709",
             "true uses the certificate also when nobody can be asked whether it is revoked.",
             allowed=_TRUTH, default="false", occurrence=_ONE),
        _row(f"{layer}/Cert0", "chr", _ALL, "1709", "Certificate to use.", allowed=_ANY, occurrence=_ONE),
        _row(f"{layer}/Cert1", "chr", _ALL, "1709", "Certificate to use when the first fails.",
             allowed=_ANY, occurrence=_ONE),
        _row(lock, "node", _GET, "W11 21H2", "Lock of the settings of secured-core computers.", occurrence=_ONE),
        _row(f"{lock}/Lock", "int", _ALL, "W11 21H2", "Puts local changes of locked settings back with 1.",
             allowed=Choice((0, 1)), default="0", occurrence=_ONE),
        _row(f"{lock}/UnlockDuration", "int", _ALL, "W11 21H2", "Minutes for which the lock is lifted.",
             allowed=_NUMBER, default="480", occurrence=_ONE),
        _row(f"{lock}/SecureCore", "bool", _GET, "W11 21H2", "Whether the device is a secured-core computer.",
             occurrence=_ONE),
    )


def _linked(at: str) -> tuple[Node, ...]:
    return (
        _row(at, "node", _GET, _LINKED, "The second enrolment, for declared configuration.", occurrence=_ONE),
        _row(f"{at}/LastError", "int", _GET, _LINKED, "HRESULT of the last enrolment or unenrolment.",
             occurrence=_ONE),
        _row(f"{at}/EnrollStatus", "int", _GET, _LINKED,
             "How far it is: 1 to 4 not started, going on, failed and done, and 5 to 8 the same for leaving.",
             allowed=Choice(tuple(range(9))), occurrence=_ONE),
        _row(f"{at}/Enroll", "null", _EXEC, _LINKED, "Enrols the device a second time, without the user.",
             occurrence=_ONE),
        _row(f"{at}/Unenroll", "null", _EXEC, _LINKED,
             "Ends the second enrolment and takes back what it had configured.", occurrence=_ONE),
        _row(f"{at}/DiscoveryEndpoint", "chr", _ALL, "unreleased",
             "Address at which the second enrolment finds its server.", allowed=_ANY, occurrence=_ONE),
    )


def _sessions_of_users(at: str) -> tuple[Node, ...]:
    return (
        _row(at, "node", _GET, "W11 21H2", "Sessions for several users at once, on Windows Enterprise multi-session.",
             occurrence=_ONE),
        *(
            _row(f"{at}/{name}", "int", _ALL, "W11 21H2", description, allowed=_NUMBER)
            for name, description in (
                ("NumAllowedConcurrentUserSessionForBackgroundSync", "Users synchronised at once in the background."),
                ("NumAllowedConcurrentUserSessionAtUserLogonSync", "Users synchronised at once at login."),
                ("IntervalForScheduledRetriesForUserSession", "Minutes between sessions of a user, or 0 for none."),
                ("NumberOfScheduledRetriesForUserSession", "Sessions of a user, or 0 for ever."),
            )
        ),
    )


def _repair(at: str) -> tuple[Node, ...]:
    """Renewing a broken enrolment, and setting policies again."""
    recovery, refresh = f"{at}/Recovery", f"{at}/ConfigRefresh"
    return (
        _row(recovery, "node", _GET, _RECOVERY, "Recovery of the enrolment when its certificate is damaged.",
             occurrence=_ONE),
        _row(f"{recovery}/AllowRecovery", "int", _CHANGE, _RECOVERY, "1 lets the device recover by itself.",
             allowed=Choice((0, 1)), default="0", occurrence=_ONE, merge=Merge.LAST),
        _row(f"{recovery}/InitiateRecovery", "int", _EXEC, _RECOVERY,
             "Recovers now with 0, or with 1 only if that moves the keys into the TPM.",
             allowed=Choice((0, 1)), default="0", occurrence=_ONE),
        _row(f"{recovery}/RecoveryStatus", "int", _GET, _RECOVERY,
             "How far the recovery is: 0 none, 1 going on, 2 done, from 3 on why it failed.",
             default="0", occurrence=_ONE),
        _row(refresh, "node", _BRANCH, _REFRESH, "Setting the policies again at intervals, without a session.",
             occurrence=_ONE),
        _row(f"{refresh}/Enabled", "bool", _ALL, _REFRESH, "true sets the policies again at intervals.",
             allowed=_TRUTH, default="false", occurrence=_ONE, merge=Merge.LAST),
        _row(f"{refresh}/Cadence", "int", _ALL, _REFRESH, "Minutes after which the policies are set again.",
             allowed=Range(30, 1440), default="90", occurrence=_ONE),
        _row(f"{refresh}/PausePeriod", "int", _ALL, _REFRESH, "Minutes for which this pauses.",
             allowed=Range(0, 1440), default="0", occurrence=_ONE),
    )


_AT: Final = f"{_DEVICE}/Provider/{PROVIDER}"

DMCLIENT_TREE: Final[tuple[Node, ...]] = (
    *_trunk(_USER),
    *_first_sync_of_user(f"{_USER}/Provider/{PROVIDER}/FirstSyncStatus"),
    *_trunk(_DEVICE),
    *_identity(_AT),
    *_push(f"{_AT}/Push"),
    *_poll(f"{_AT}/Poll"),
    *_end_page(f"{_AT}/CustomEnrollmentCompletePage"),
    *_first_sync_of_device(f"{_AT}/FirstSyncStatus"),
    *_security(_AT),
    *_linked(f"{_AT}/LinkedEnrollment"),
    *_sessions_of_users(f"{_AT}/MultipleSession"),
    *_repair(_AT),
    _fixed(f"{_DEVICE}/Unenroll", "null", _EXEC | _GET, "1507",
           "Ends the management of the device by the server named in the data."),
    _row(f"{_DEVICE}/UpdateManagementServiceAddress", "chr", _CHANGE, "1507",
         "Order in which a provisioning package has the known servers tried.", allowed=AnyText(";")),
    _row(f"{_DEVICE}/HWDevID", "chr", _GET, "1709", "Identifier made from the hardware."),
)
# fmt: on
"""Both trees, the user's first; each parent before its children."""

_BELOW: Final = f"{_AT}/"
_BY_NAME: Final = {
    node.path.removeprefix(_BELOW): node for node in DMCLIENT_TREE if node.path.startswith(_BELOW)
}

# Interval, its default, count, its default: the three schedules in the order in which they run.
_SCHEDULES: Final = (
    ("IntervalForFirstSetOfRetries", "15", "NumberOfFirstRetries", "10"),
    ("IntervalForSecondSetOfRetries", "0", "NumberOfSecondRetries", "0"),
    ("IntervalForRemainingScheduledRetries", "0", "NumberOfRemainingScheduledRetries", "0"),
)


def _named(name: str) -> Node:
    node = _BY_NAME.get(name)
    if node is None:
        raise InvalidValue(f"{quoted(name)} is not a setting of a management server.")
    return node


def provider_uri(provider_id: str, name: str) -> str:
    """Where a setting of the management server of that (unescaped) name stands.

    Raises InvalidValue for a name that is no setting, InvalidLocURI for a server's name no address can have.
    """
    path = _named(name).path.removeprefix("./").split("/")
    return str(LocURI(tuple(provider_id if segment == PROVIDER else segment for segment in path)))


@lru_cache(maxsize=256)
def provider_leaf(provider_id: str, name: str) -> str:
    """The same address as a device is asked for it, and names it in its answer: without the scope.

    Raises as `provider_uri`.
    """
    return str(LocURI.parse(provider_uri(provider_id, name)).canonical())


def validate(name: str, value: str) -> None:
    """Pass if the setting may have this value; otherwise InvalidValue says in one sentence what is wrong."""
    validate_value(_named(name), value)


def validate_together(values: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each way in which these settings contradict or lack one another.

    What is not set has Windows' default. Looks only at values that pass `validate` alone, which names the
    others; with one of those among the schedules nothing is said of them. Nothing wrong gives ().
    """
    return (*_ignored_address(values), *_schedule_problems(values))


def _ignored_address(values: Mapping[str, str]) -> Iterator[str]:
    if {"ManagementServiceAddress", "ManagementServerAddressList"} <= values.keys():
        yield "ManagementServiceAddress has no effect while ManagementServerAddressList is set."


def _schedule_problems(values: Mapping[str, str]) -> Iterator[str]:
    """The rules of the Poll node, which say what Windows makes of each combination."""
    given = {
        name: values[f"Poll/{name}"]
        for interval, _, count, _ in _SCHEDULES
        for name in (interval, count)
        if f"Poll/{name}" in values
    }
    if not given or any(_NUMBER.objection(value) is not None for value in given.values()):
        return
    counts = [int(given.get(count, default)) for _, _, count, default in _SCHEDULES]
    if not any(counts):
        yield "All three numbers of retries are 0, with which the enrolment may fail."
        return
    endless = ""
    for (interval, default, count, _), times in zip(_SCHEDULES, counts, strict=True):
        minutes = int(given.get(interval, default))
        if minutes and endless:
            yield f"{interval} has no effect, because {endless} is 0, which repeats that schedule for ever."
        elif not minutes and times and count in given:
            yield f"{count} has no effect while {interval} is 0."
        elif minutes and not times:
            endless = count
    if endless == "NumberOfFirstRetries":
        yield "NumberOfFirstRetries is 0, but the first schedule must not repeat for ever."
    if not endless:
        yield "No schedule repeats for ever, so Windows adds one of its own every 24 hours."
