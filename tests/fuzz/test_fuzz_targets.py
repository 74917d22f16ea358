"""The fuzz targets without a fuzzer: over the committed corpus, the golden messages and bytes of hypothesis."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.ca.pkcs7 import SignedContent
from syncml.errors import RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS
from syncml.reader import read_message
from syncml.xmltree import parse

if TYPE_CHECKING:
    from types import ModuleType

HERE: Final = Path(__file__).parent
GOLDEN: Final = sorted((HERE.parent / "golden").glob("*.xml"))

if str(HERE) not in sys.path:  # the targets are scripts, and import each other as such
    sys.path.insert(0, str(HERE))

TARGETS: Final = {
    name: import_module(f"fuzz_{name}") for name in ("client_cert", "pkcs7", "reader", "session", "snapshot")
}
SHAPES: Final = import_module("shapes")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> ModuleType:
    """Each target in turn."""
    return TARGETS[request.param]


def test_the_runner_runs_each_target() -> None:
    """No target is written and then forgotten."""
    assert {path.stem for path in HERE.glob("fuzz_*.py")} == {f"fuzz_{name}" for name in TARGETS}
    assert tuple(TARGETS) == import_module("run").TARGETS
    assert [module.NAME for module in TARGETS.values()] == list(TARGETS)


def test_the_corpus(target: ModuleType) -> None:
    """What fuzzing kept, and every golden message, passes."""
    seeds = sorted((HERE / "corpus" / target.NAME).iterdir())
    assert seeds
    for path in (*seeds, *GOLDEN):
        target.run(path.read_bytes())


@given(data=st.binary(max_size=2_000))
@pytest.mark.parametrize("name", TARGETS)
def test_bytes_as_choices(name: str, data: bytes) -> None:
    """Bytes that decide about documents and answers."""
    TARGETS[name].run(data)


@given(path=st.sampled_from(GOLDEN), seed=st.integers(0, 2**32), again=st.integers(0, 2**32))
@pytest.mark.parametrize("name", TARGETS)
def test_neighbours_of_golden_messages(name: str, path: Path, seed: int, again: int) -> None:
    """Two rounds of small changes to a real document."""
    data = SHAPES.mutate(path.read_bytes(), 65_536, seed) or b""
    TARGETS[name].run(SHAPES.mutate(data, 65_536, again) or data)


def test_choices_mostly_make_messages() -> None:
    """Of 400 inputs most pass the grammar and reach the session, else the fuzzer would test expat alone."""
    read = 0
    for number in range(400):
        data = bytes((number * 7919 * (n + 1) >> 3) % 256 for n in range(300))
        try:
            message = read_message(SHAPES.message(SHAPES.Choices(data), 1))
        except RemoteProtocolError:
            continue
        read += bool(message.commands)
    assert read > 200, read


def test_neighbours_are_mostly_well_formed() -> None:
    """The mutator of trees keeps a document a document, but never the same one."""
    document = GOLDEN[0].read_bytes()
    neighbours = {SHAPES.mutate(document, 65_536, seed) for seed in range(200)} - {None}
    assert len(neighbours) > 120, len(neighbours)
    parsed = 0
    for neighbour in neighbours:
        try:
            parsed += bool(parse(neighbour, DEFAULT_LIMITS))
        except RemoteProtocolError:
            continue
    assert parsed > 0.8 * len(neighbours), parsed


def test_what_is_no_document_has_no_neighbour() -> None:
    """Then the fuzzer's own mutations are wanted; so is a neighbour that would be too long."""
    assert SHAPES.mutate(b"\x01\x02", 100, 1) is None
    assert SHAPES.mutate(GOLDEN[0].read_bytes(), 10, 1) is None


def test_a_target_fails_on_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that is not numbered from 1, and a message that changes on its way, are seen."""
    opening = GOLDEN[0].read_bytes()
    respond = TARGETS["session"].respond

    def unnumbered(*args: object, **kwargs: object) -> tuple[object, ...]:

        reply, *rest = respond(*args, **kwargs)
        return replace(reply, commands=reply.commands[::-1]), *rest

    monkeypatch.setattr(TARGETS["session"], "respond", unnumbered)
    with pytest.raises(AssertionError):
        TARGETS["session"].run(opening)
    monkeypatch.setattr(TARGETS["reader"], "write_message", lambda _message: GOLDEN[1].read_bytes())
    with pytest.raises(AssertionError):
        TARGETS["reader"].run(opening)
    monkeypatch.setattr(TARGETS["client_cert"], "peer_certificate", lambda _scope: b"another's")
    with pytest.raises(AssertionError):
        TARGETS["client_cert"].run(b":MAA=:")
    monkeypatch.setattr(
        TARGETS["pkcs7"], "read_signed", lambda _data: SignedContent(b"another content", b"another signer")
    )
    with pytest.raises(AssertionError):
        TARGETS["pkcs7"].run(b"0")
