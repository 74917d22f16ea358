"""The worker that sends notifications: whom it sends one, once, and what it keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import delete, update

from mdm.push.wns import PushAccount, WnsClient
from mdm.push.worker import FRESH, PushWorker, configured_push
from mdm.settings import load_settings
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.lab.wns import VirtualWns

ACCOUNT = PushAccount("ms-app://s-1-15-2-1-2-3", "c4nary+/=& secret")
_device = table_of(Device)


@dataclass
class Post:
    """The worker, the service, and devices with a wish."""

    bench: Bench
    wns: VirtualWns
    worker: PushWorker

    def want(self, device_id: str, **values: Any) -> None:
        """A device that has a channel and a wish, unless told otherwise."""
        self.bench.enrol(device_id)
        wanted = {
            "push_channel": self.wns.channel(device_id),
            "sync_requested_at": self.bench.now,
            **values,
        }
        with self.bench.database.write() as conn:
            conn.execute(update(_device).where(_device.c.device_id == device_id).values(**wanted))

    def run(self) -> list[str]:
        """The channels that get a notification in one round, ten seconds after the last."""
        self.bench.now += timedelta(seconds=10)
        before = len(self.wns.notifications)
        assert self.worker.work() is False
        return [each.channel for each in self.wns.notifications[before:]]

    def events(self) -> list[tuple[str, str]]:
        """Kind and sentence of all events."""
        return [(row["kind"], row["detail"]["why"]) for row in self.bench.rows("device_event", "seq")]


@pytest.fixture
def post(bench: Bench, wns: VirtualWns) -> Post:
    """A worker over the bench's database."""
    client = WnsClient(ACCOUNT, service=wns.service)
    worker = PushWorker(bench.database, lambda: bench.now, client, lambda: httpx2.Client(trust_env=False))
    return Post(bench, wns, worker)


def test_each_wish_gets_one_notification(post: Post) -> None:
    """And another wish another one."""
    post.want("one")
    post.want("two")
    assert post.run() == ["one", "two"]
    assert post.run() == []
    assert [kind for kind, _ in post.events()] == ["pushed", "pushed"]
    with post.bench.database.write() as conn:
        conn.execute(
            update(_device).where(_device.c.device_id == "two").values(sync_requested_at=post.bench.now)
        )
    assert post.run() == ["two"]
    assert post.run() == []


@pytest.mark.parametrize(
    "values",
    [
        {"push_channel": None},
        {"sync_requested_at": None},
        {"unenrolled_at": "now"},
        {"state_read_at": "after"},
        {"sync_requested_at": "old"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_who_gets_none(post: Post, values: dict[str, Any]) -> None:
    """Without a channel or a wish, gone, answered by a session meanwhile, or overtaken by events."""
    moments = {
        "after": post.bench.now + timedelta(seconds=1),
        "old": post.bench.now - FRESH,
        "now": post.bench.now,
        None: None,
    }
    post.want("one", **{name: moments[value] for name, value in values.items()})
    assert post.run() == []
    assert post.events() == []


def test_a_failure_is_told_and_the_channel_kept(post: Post) -> None:
    """Trying again at once would not help; the device comes by itself."""
    post.want("one", state_read_at=post.bench.now - timedelta(days=1))
    post.wns.statuses["one"] = 503
    assert post.run() == ["one"]
    assert post.run() == []
    assert post.events() == [("push_failed", "The notification service answered HTTP 503.")]
    assert post.bench.rows("device")[0]["push_channel"] == post.wns.channel("one")


def test_a_channel_that_has_expired_is_forgotten(post: Post) -> None:
    """So that the next session asks the device for another one."""
    post.want("one")
    post.wns.statuses["one"] = 410
    assert post.run() == ["one"]
    assert post.bench.rows("device")[0]["push_channel"] is None
    assert [kind for kind, _ in post.events()] == ["push_failed"]


def test_a_channel_that_changed_meanwhile_is_kept(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has told a new one while the old one was refused."""
    post.want("one")
    post.wns.statuses["one"] = 410
    notify = WnsClient.notify

    def meanwhile(client: WnsClient, http: httpx2.Client, channel: str) -> Any:
        result = notify(client, http, channel)
        with post.bench.database.write() as conn:
            conn.execute(update(_device).values(push_channel="another"))
        return result

    monkeypatch.setattr(WnsClient, "notify", meanwhile)
    post.run()
    assert post.bench.rows("device")[0]["push_channel"] == "another"


def test_a_device_that_is_deleted_meanwhile_is_no_failure(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to write on."""
    post.want("one")
    notify = WnsClient.notify

    def meanwhile(client: WnsClient, http: httpx2.Client, channel: str) -> Any:
        with post.bench.database.write() as conn:
            conn.execute(delete(_device))
        return notify(client, http, channel)

    monkeypatch.setattr(WnsClient, "notify", meanwhile)
    assert post.run() == ["one"]
    assert post.events() == []


def test_a_clock_that_is_behind_sends_no_second_one(post: Post) -> None:
    """The wish came to a process whose clock is ahead of the worker's."""
    post.want("one", sync_requested_at=post.bench.now + timedelta(minutes=2))
    assert post.run() == ["one"]
    assert post.run() == []


def test_more_than_a_batch_comes_in_turns(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker says that there is more; and it stops between two devices."""
    monkeypatch.setattr("mdm.push.worker._BATCH", 2)
    for name in ("one", "two", "three"):
        post.want(name)
    assert post.worker.work() is True
    post.worker.stop()
    assert post.worker.work() is False
    assert [each.channel for each in post.wns.notifications] == ["one", "two"]


def test_a_wish_wakes_the_thread(post: Post) -> None:
    """Long before it would look by itself."""
    post.worker.start()
    try:
        post.want("one")
        post.worker.wake()
        for _ in range(1000):
            if post.events():
                break
            post.worker._stopping.wait(0.01)
    finally:
        post.worker.stop()
    assert [kind for kind, _ in post.events()] == ["pushed"]


def test_the_settings_say_whether_there_is_a_worker(bench: Bench) -> None:
    """Off by default."""
    assert configured_push(load_settings(), bench.database, lambda: bench.now) is None
    settings = load_settings(
        wns_pfn="Contoso.Bridge_8wekyb3d8bbwe", wns_package_sid="ms-app://s-1-15-2-1", wns_secret="c4nary"
    )
    worker = configured_push(settings, bench.database, lambda: bench.now)
    assert worker is not None
    assert worker.work() is False
