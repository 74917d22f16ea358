"""How one release becomes several documents: payload files, leaves, hidden bundles, and the visible bundle."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdm.lab.documents import NAMESPACES, AtLeastOne, File, Handler, Revision, Text
from mdm.lab.products import SECURITY

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mdm.lab.dice import Dice
    from mdm.lab.documents import Identity
    from mdm.lab.products import WindowsLine

__all__ = [
    "CBS",
    "DEFENDER_PUBLISHER",
    "INSTALL_TEXT",
    "MIB",
    "OS_INSTALLER",
    "WINDOWS_PUBLISHER",
    "Release",
    "command_line",
    "windows_titles",
]

MIB = 1 << 20

WINDOWS_PUBLISHER = "395392a0-19c0-48b7-a927-f7c15066d905"
DEFENDER_PUBLISHER = "bccf8ca0-2819-4598-8d15-c1506e363e92"

CBS = Handler("cbs", "Cbs", f'<cbs:CbsData PackageIdentity="" xmlns:cbs="{NAMESPACES["cbs"]}" />')
OS_INSTALLER = Handler(
    "osi",
    "OSInstaller",
    f'<osi:OSInstallData InitialModule="UpdateAgent.dll" xmlns:osi="{NAMESPACES["osi"]}" />',
)

INSTALL_TEXT = (
    (
        "Install this update to resolve issues in Windows. For a complete listing of the issues that are included in "
        "this update, see the associated Microsoft Knowledge Base article for more information. After you install this "
        "item, you may have to restart your computer."
    ),
    (
        "Installieren Sie dieses Update, um Probleme in Windows zu beheben. Eine vollständige Liste der behobenen "
        "Probleme finden Sie im zugehörigen Artikel der Microsoft Knowledge Base. Nach der Installation müssen Sie den "
        "Computer unter Umständen neu starten."
    ),
)
"""The usual description, in English and German."""

_GERMAN = {
    "Cumulative Update": "Kumulatives Update",
    "Critical Update": "Wichtiges Update",
    "Servicing Stack Update": "Wartungsstapelupdate",
}


def windows_titles(day: datetime, kind: str, line: WindowsLine, kb: str) -> tuple[str, str]:
    """`2026-11 Cumulative Update for Windows 11 Version 24H2 for x64-based Systems (KB...)`, and in German."""
    return (
        f"{day:%Y-%m} {kind} for {line.title} for x64-based Systems (KB{kb})",
        f"{day:%Y-%m} {_GERMAN[kind]} für {line.title} für x64-basierte Systeme (KB{kb})",
    )


def command_line(program: str, arguments: str) -> Handler:
    """The handler that runs one of the update's files; success is exit code 0."""
    return Handler(
        "cmd",
        "CommandLineInstallation",
        f'<cmd:InstallCommand Program="{html.escape(program)}" Arguments="{html.escape(arguments)}" '
        f'xmlns:cmd="{NAMESPACES["cmd"]}"><cmd:ReturnCode Code="0" Result="Succeeded" /></cmd:InstallCommand>',
    )


@dataclass(frozen=True, slots=True)
class Release:
    """What the documents of one release have in common; its methods make them.

    `key` names the release for the dice: the same key gives the same UpdateIDs and digests for a seed.
    """

    dice: Dice
    key: str
    created: datetime
    classification: str
    products: tuple[str, ...]
    publisher_id: str = WINDOWS_PUBLISHER
    requires: tuple[str, ...] = ()
    """Detectoids and updates every document of the release has as plain prerequisites."""

    def guid(self, part: str) -> str:
        """The UpdateID of one part of the release; the visible bundle is `bundle`."""
        return self.dice.guid(f"{self.key}/{part}")

    def file(
        self, name: str, low: int, high: int, patching_type: str | None = None, *, key: str = ""
    ) -> File:
        """A payload file of `low` to `high` bytes. Only its metadata exists: nobody here downloads payloads.

        `key` tells files of one release apart that have the same name.
        """
        key = f"{self.key}/file/{key}/{name}"
        sha1 = self.dice.bytes(key)[:20]
        stem, _, extension = name.lower().rpartition(".")
        folder = "secu" if self.classification == SECURITY else "updt"
        return File(
            name=name,
            size=self.dice.number(f"{key}/size", low, high),
            sha1=sha1,
            sha256=self.dice.bytes(f"{key}/sha256"),
            modified=self.created.replace(hour=9, microsecond=0),
            url=f"http://download.windowsupdate.com/c/msdownload/update/software/{folder}/"
            f"{self.created:%Y/%m}/{stem}_{sha1.hex()}.{extension}",
            patching_type=patching_type,
        )

    def leaf(
        self,
        part: str,
        title: str,
        *,
        files: Iterable[File],
        handler: Handler,
        is_installed: str,
        is_installable: str | None = None,
        rule_metadata: str | None = None,
    ) -> Revision:
        """A hidden child with payload. It repeats the product in a clause that does not classify."""
        payload = tuple(files)
        return Revision(
            update_id=self.guid(part),
            revision_number=200,
            update_type="Software",
            texts=(Text("en", title),),
            created=self.created,
            publisher_id=self.publisher_id,
            max_download_size=sum(file.size for file in payload),
            impact="Minor",
            prerequisites=(*self.requires, AtLeastOne(self.products)),
            is_installed=is_installed,
            is_installable=is_installable,
            rule_metadata=rule_metadata,
            files=payload,
            handler=handler,
        )

    def hidden(self, part: str, title: str, *children: Iterable[Identity]) -> Revision:
        """A bundle between the visible one and the leaves: no handler, no files, not deployable by itself."""
        return Revision(
            update_id=self.guid(part),
            revision_number=200,
            update_type="Software",
            texts=(Text("en", title),),
            created=self.created,
            publisher_id=self.publisher_id,
            prerequisites=(AtLeastOne((self.classification,)), AtLeastOne(self.products)),
            bundled=tuple(tuple(clause) for clause in children),
        )

    def bundle(
        self,
        titles: tuple[str, str],
        descriptions: tuple[str, str],
        *children: Iterable[Identity],
        kb: str | None = None,
        reboot_behavior: str = "NeverReboots",
    ) -> Revision:
        """What an administrator sees: titles and descriptions in English and German, the KB, the categories."""
        more = f"https://support.microsoft.com/help/{kb}" if kb else None
        return Revision(
            update_id=self.guid("bundle"),
            revision_number=200,
            update_type="Software",
            texts=tuple(
                Text(language, title, description, more_info_url=more, support_url=more)
                for language, title, description in zip(
                    ("de", "en"), titles[::-1], descriptions[::-1], strict=True
                )
            ),
            created=self.created,
            publisher_id=self.publisher_id,
            max_download_size=0,
            explicitly_deployable=True,
            auto_select=True,
            reboot_behavior=reboot_behavior,
            impact="Normal",
            support_url=more,
            kb_articles=(kb,) if kb else (),
            prerequisites=(
                *self.requires,
                AtLeastOne((self.classification,), is_category=True),
                AtLeastOne(self.products, is_category=True),
            ),
            bundled=tuple(tuple(clause) for clause in children),
        )
