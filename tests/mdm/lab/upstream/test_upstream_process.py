"""An upstream in another process: started, asked, changed and ended from here."""

from __future__ import annotations

import multiprocessing
import signal
import threading

import httpx2
import pytest

from mdm.lab import upstream_process
from mdm.lab.upstream_process import UpstreamProcess

SIZE = 300


@pytest.mark.e2e
def test_it_can_be_asked_and_changed() -> None:
    """It answers at its URL, counts calls, and releases blocks; when it is left it is gone."""
    with UpstreamProcess(SIZE, seed=2, released=1) as upstream:
        assert httpx2.get(upstream.url).status_code == 404
        assert upstream.calls("GetCookie") == 0
        upstream.release(1)
        process = upstream._process
        assert process.is_alive()
    assert process.exitcode == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(upstream.url)


@pytest.mark.e2e
def test_one_that_does_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not stay behind."""
    monkeypatch.setattr(upstream_process, "_START_SECONDS", 0)
    upstream = UpstreamProcess(SIZE)
    with pytest.raises(TimeoutError, match="did not start"):
        upstream.__enter__()
    upstream._process.join(20)
    assert upstream._process.exitcode == -signal.SIGKILL


@pytest.mark.e2e
def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time to stop."""
    monkeypatch.setattr(upstream_process, "_STOP_SECONDS", 0)
    with UpstreamProcess(SIZE) as upstream:
        process = upstream._process
    assert process.exitcode == -signal.SIGKILL


def test_the_other_side_does_what_comes_through_the_pipe() -> None:
    """It says where it is, answers each request, and ends when the pipe does."""
    ours, theirs = multiprocessing.Pipe()
    answers: list[object] = []

    def ask() -> None:
        url = ours.recv()
        answers.append(httpx2.get(url).status_code)
        ours.send(("calls", "GetCookie"))
        answers.append(ours.recv())
        ours.close()

    thread = threading.Thread(target=ask)
    thread.start()
    before = signal.getsignal(signal.SIGINT)
    try:
        upstream_process._serve(
            theirs,
            upstream_process._Order(seed=1, size=SIZE, big_document=False, released=None, options=None),
        )
    finally:
        signal.signal(signal.SIGINT, before)
        theirs.close()
    thread.join()
    assert answers == [404, 0]
