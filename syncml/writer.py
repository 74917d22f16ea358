"""Typed messages to the bytes of a SyncML document: DTD order inside each element, one form per message.

Text is always escaped and never put in CDATA, which Windows does not take. What a reader could not give back
as it was is refused, so a message that was written is read as the same message. Two things are the caller's:
tokens without white space around them, and extensions that are not named like an element known in that place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from syncml.errors import LocalProtocolError
from syncml.extensions import write_extensions
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Sequence,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.namespaces import METINF, MICROSOFT, SYNCML_1_2
from syncml.xmltree import SPACE, escape, escape_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["write_command", "write_message"]

_ItemCommand: TypeAlias = Add | Copy | Delete | Exec | Get | Replace
_Group: TypeAlias = Atomic | Sequence

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 production 2
_CODE = re.compile("[0-9]+")
_SIZE_END = 10**19
_MSFT = f' xmlns:msft="{MICROSOFT}"'


def write_message(message: Message) -> bytes:
    """The message as a UTF-8 document with an XML declaration, in the namespace `SYNCML:SYNCML1.2`.

    Raises `LocalProtocolError` for what OMA DM does not allow (a CmdID that is empty or "0", a command
    without its items or codes, an `Unknown`) and for characters XML 1.0 cannot carry (RepPro 1.2.1 chapter 7).
    """
    body = _commands(message.commands, SYNCML_1_2, DEFAULT_LIMITS.depth)
    declared = any(isinstance(each, Status) and each.original_error is not None for each in message.commands)
    return _checked(
        f'<?xml version="1.0" encoding="UTF-8"?>'
        f'<SyncML xmlns="{SYNCML_1_2}">{_header(message.header)}'
        f"<SyncBody{_MSFT if declared else ''}>{body}{'<Final/>' if message.final else ''}</SyncBody></SyncML>"
    ).encode()


def write_command(command: Command) -> str:
    """The command alone, as well-formed XML in no namespace, for `read_fragment` and for measuring.

    It is as long as in a message, but for the declarations of namespaces. Raises as `write_message`.
    """
    return _checked(_command(command, "", DEFAULT_LIMITS.depth))


def _checked(text: str) -> str:
    """The whole text, once no character in it is outside XML: one search is cheaper than one per value."""
    forbidden = _NOT_XML.search(text)
    if forbidden:
        raise LocalProtocolError(f"XML 1.0 cannot carry the character U+{ord(forbidden[0]):04X}")
    return text


def _commands(commands: Iterable[Command], namespace: str, room: int) -> str:
    return "".join([_command(command, namespace, room) for command in commands])


def _command(command: Command, namespace: str, room: int) -> str:
    """One command where `namespace` is the default one and `room` more levels of groups may be opened."""
    if isinstance(command, Unknown):
        raise LocalProtocolError(f"{command.name[:40]!a} is no command of OMA DM")
    if command.cmd_id.strip(SPACE) in {"", "0"}:
        raise LocalProtocolError(f"{type(command).__name__} needs a CmdID; {command.cmd_id!r} is reserved")
    if isinstance(command, Status):
        content = _status(command, namespace)
    elif isinstance(command, Results):
        content = _results(command, namespace)
    elif isinstance(command, Alert):
        content = _alert(command, namespace)
    elif isinstance(command, Atomic | Sequence):
        content = _group(command, namespace, room)
    else:
        content = _item_command(command, namespace)
    verb = type(command).__name__
    return f"<{verb}><CmdID>{escape(command.cmd_id)}</CmdID>{content}</{verb}>"


def _item_command(command: _ItemCommand, namespace: str) -> str:
    correlator = ""
    if isinstance(command, Exec):
        if len(command.items) != 1:
            raise LocalProtocolError(f"Exec {command.cmd_id!r} has {len(command.items)} items, not 1")
        correlator = _optional("Correlator", command.correlator)
    return (
        f"{_flag('NoResp', given=command.no_resp)}{_meta(command.meta, namespace)}{correlator}"
        f"{_needed_items(command, namespace)}{write_extensions(command.extra, namespace)}"
    )


def _group(command: _Group, namespace: str, room: int) -> str:
    verb = type(command).__name__
    if not command.commands:
        raise LocalProtocolError(f"{verb} {command.cmd_id!r} is empty")
    if command.extra:
        raise LocalProtocolError(f"{verb} {command.cmd_id!r} can hold nothing but commands")
    if any(isinstance(each, Status | Results) for each in command.commands):
        raise LocalProtocolError(f"{verb} {command.cmd_id!r} holds an answer, which is no part of a group")
    if not room:
        raise LocalProtocolError(f"groups nested more than {DEFAULT_LIMITS.depth} deep")
    return (
        f"{_flag('NoResp', given=command.no_resp)}{_meta(command.meta, namespace)}"
        f"{_commands(command.commands, namespace, room - 1)}"
    )


def _alert(alert: Alert, namespace: str) -> str:
    return (
        f"{_flag('NoResp', given=alert.no_resp)}<Data>{escape(alert.data)}</Data>"
        f"{_optional('Correlator', alert.correlator)}{_items(alert.items, namespace)}"
        f"{write_extensions(alert.extra, namespace)}"
    )


def _status(status: Status, namespace: str) -> str:
    if not _CODE.fullmatch(status.data):
        raise LocalProtocolError(f"Status {status.cmd_id!r} needs a code, not {status.data[:20]!a}")
    attributes = ""
    if status.original_error is not None:
        # a message declares the prefix once, on its SyncBody
        declared = "" if namespace else _MSFT
        attributes = f'{declared} msft:originalerror="{escape_attribute(status.original_error)}"'
    return (
        f"<MsgRef>{escape(status.msg_ref)}</MsgRef><CmdRef>{escape(status.cmd_ref)}</CmdRef>"
        f"<Cmd>{escape(status.cmd)}</Cmd>"
        f"{''.join([_optional('TargetRef', ref) for ref in status.target_refs])}"
        f"{''.join([_optional('SourceRef', ref) for ref in status.source_refs])}"
        f"{_cred(status.cred, namespace)}{_chal(status.chal, namespace)}"
        f"<Data{attributes}>{status.data}</Data>"
        f"{_items(status.items, namespace)}{write_extensions(status.extra, namespace)}"
    )


def _results(results: Results, namespace: str) -> str:
    return (
        f"<MsgRef>{escape(results.msg_ref)}</MsgRef><CmdRef>{escape(results.cmd_ref)}</CmdRef>"
        f"{_optional('Cmd', results.cmd)}{_meta(results.meta, namespace)}"
        f"{_optional('TargetRef', results.target_ref)}{_optional('SourceRef', results.source_ref)}"
        f"{_needed_items(results, namespace)}{write_extensions(results.extra, namespace)}"
    )


def _header(header: SyncHdr) -> str:
    return (
        f"<SyncHdr><VerDTD>{escape(header.ver_dtd)}</VerDTD><VerProto>{escape(header.ver_proto)}</VerProto>"
        f"<SessionID>{escape(header.session_id)}</SessionID><MsgID>{escape(header.msg_id)}</MsgID>"
        f"{_location('Target', header.target, SYNCML_1_2)}{_location('Source', header.source, SYNCML_1_2)}"
        f"{_optional('RespURI', header.resp_uri)}{_flag('NoResp', given=header.no_resp)}"
        f"{_cred(header.cred, SYNCML_1_2)}{_meta(header.meta, SYNCML_1_2)}"
        f"{write_extensions(header.extra, SYNCML_1_2)}</SyncHdr>"
    )


def _needed_items(command: _ItemCommand | Results, namespace: str) -> str:
    if not command.items:
        raise LocalProtocolError(f"{type(command).__name__} {command.cmd_id!r} has no items")
    return _items(command.items, namespace)


def _items(items: Iterable[Item], namespace: str) -> str:
    return "".join([_item(item, namespace) for item in items])


def _item(item: Item, namespace: str) -> str:
    return (
        f"<Item>{_location('Target', item.target, namespace)}{_location('Source', item.source, namespace)}"
        f"{_meta(item.meta, namespace)}{_optional('Data', item.data)}"
        f"{_flag('MoreData', given=item.more_data)}{write_extensions(item.extra, namespace)}</Item>"
    )


def _location(name: str, location: Location | None, namespace: str) -> str:
    if location is None:
        return ""
    return (
        f"<{name}><LocURI>{escape(location.loc_uri)}</LocURI>{_optional('LocName', location.loc_name)}"
        f"{write_extensions(location.extra, namespace)}</{name}>"
    )


def _cred(cred: Cred | None, namespace: str) -> str:
    if cred is None:
        return ""
    return f"<Cred>{_meta(cred.meta, namespace)}<Data>{escape(cred.data)}</Data></Cred>"


def _chal(chal: Chal | None, namespace: str) -> str:
    return "" if chal is None else f"<Chal>{_meta(chal.meta, namespace)}</Chal>"


def _meta(meta: Meta | None, namespace: str) -> str:
    """Meta with its children in the order of MetInf 1.2, each declaring its namespace, as Windows expects."""
    if meta is None:
        return ""
    return (
        f"<Meta>{_metinf('Format', meta.format)}{_metinf('Type', meta.type)}{_metinf('Mark', meta.mark)}"
        f"{_size('Size', meta.size)}{_metinf('NextNonce', meta.next_nonce)}"
        f"{_size('MaxMsgSize', meta.max_msg_size)}{_size('MaxObjSize', meta.max_obj_size)}"
        f"{write_extensions(meta.extra, namespace)}</Meta>"
    )


def _metinf(name: str, text: str | None) -> str:
    return "" if text is None else f'<{name} xmlns="{METINF}">{escape(text)}</{name}>'


def _size(name: str, octets: int | None) -> str:
    if octets is not None and not 0 <= octets < _SIZE_END:
        raise LocalProtocolError(f"{name} is not a size of at most 19 digits")
    return _metinf(name, None if octets is None else str(octets))


def _optional(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{escape(text)}</{name}>"


def _flag(name: str, *, given: bool) -> str:
    return f"<{name}/>" if given else ""
