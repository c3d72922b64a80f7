"""Channels that have ids: opened with a secret, prolonged at half life, replaced without a gap, never left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared import refs
from shared.errors import ProviderRefused, Retry
from shared.mail import sync
from shared.mail.channel import IDS_KEPT, JITTER, unrouted_channels
from shared.mail.context import load
from shared.mail.doorbell import digest, graph_push
from shared.mail.state import MailboxState
from shared.mail.tasks import StepTask
from shared.ports import Create, Update
from shared.providers.base import Access, Channel
from tests.machine import UID, Machine, no_hook
from tests.provider import MemoryProvider

MAILBOX = f"{UID}:primary:MICROSOFT"
OTHER = "user_two:primary:MICROSOFT"
DAY = 86_400.0
LIFE = 7 * DAY - 600


class Crash(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Subscribing(MemoryProvider):
    """A provider of one account whose channels have ids, as Microsoft's do."""

    name: str = "MICROSOFT"
    live: dict[str, float] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    most: int = 0
    prolonged: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)  # answered with 404 although they are there
    refuses_closing: bool = False

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        self._called("open_channel")
        if not self.channelled:
            return None
        now = self.clock.now()
        self.live = {id_: end for id_, end in self.live.items() if end > now}
        if current in self.live and current not in self.forgotten:
            self.prolonged.append(current)
            self.live[current] = now + LIFE
            return Channel(current, now + LIFE)
        for orphan in [id_ for id_ in self.live if id_ != current]:
            del self.live[orphan]
        self.opened += 1
        id_ = f"sub-{self.opened}"
        self.live[id_], self.secrets[id_] = now + LIFE, secret
        self.most = max(self.most, len(self.live))
        if self.on_call is not None:
            self.on_call("opened")
        return Channel(id_, now + LIFE)

    def close_channel(self, access: Access, channel: Channel) -> None:
        self._called("close_channel")
        if self.refuses_closing:
            raise ProviderRefused
        self.closed.append(channel.id)
        if channel.id:
            self.live.pop(channel.id, None)
        else:
            self.live.clear()


class Outlook(Machine):
    """The machine with a mailbox at such a provider, and its webhook."""

    provider: Any

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.provider = Subscribing(self.clock)
        self.start()

    def start(self, around: Any = no_hook) -> None:
        super().start(around)
        self.ctx.providers["MICROSOFT"] = self.provider  # type: ignore[index]

    def connect(self, uid: str = UID) -> None:
        if refs.user(uid) not in self.store.get([refs.user(uid)]):
            self.store.commit([Create(refs.user(uid), {"uid": uid})])
        self.accounts.connect(uid, "microsoft", "microsoft:primary")

    def channel(self) -> None:
        sync.step(self.ctx, StepTask(MAILBOX, "channel"))

    def of(self, mailbox: str) -> MailboxState:
        loaded = load(self.ctx, mailbox)
        assert loaded is not None
        return loaded.state

    @property
    def state(self) -> MailboxState:
        return self.of(MAILBOX)

    def route(self, id_: str) -> dict[str, Any] | None:
        ref = refs.route("MICROSOFT", id_)
        doc = self.store.get([ref]).get(ref)
        return None if doc is None else doc.data

    def tell(self, id_: str, **more: Any) -> int:
        """What the provider sends for a subscription; how many mailboxes it rings."""
        notice = {"subscriptionId": id_, "clientState": self.provider.secrets[id_], **more}
        return graph_push(self.store, self.tasks, self.clock, {"value": [notice]}).mailboxes

    def later(self, seconds: float) -> None:
        """Let a long time pass in jumps of six hours, with a tick after each."""
        end = self.clock.now() + seconds
        while self.clock.now() < end - 120:
            self.clock.advance(min(DAY / 4, end - self.clock.now() - 120))
            self.run(120, ticks=True)

    def looks(self) -> int:
        """How many looks at the whole mailbox were rung for so far."""
        return sum(
            body["kind"] == "live" and body["rung"] and not body["hints"]
            for _, body, result in self.tasks.enqueued
            if result == "created"
        )


@pytest.fixture
def machine(tmp_path: Path) -> Outlook:
    machine = Outlook(tmp_path)
    machine.connect()
    machine.run(20)
    return machine


def test_a_channel_is_opened_with_a_secret_of_which_only_the_digest_is_kept(machine):
    [secret] = machine.provider.secrets.values()
    assert 32 <= len(secret) <= 128
    assert secret.isascii()
    assert secret.isprintable()
    assert machine.route("sub-1") == {"mailboxes": [MAILBOX], "secret": digest(secret)}
    assert machine.state.channel.id == "sub-1"
    assert machine.state.channel_ids == ("sub-1",)
    written = [[write.ref for write in writes] for writes in machine.store.commits]
    assert [refs.stream(MAILBOX), refs.route("MICROSOFT", "sub-1")] in written, "in one commit"
    with machine.database.read() as connection:
        rows = [row[0] for row in connection.execute("SELECT data FROM doc")]
    assert rows
    assert not [row for row in rows if secret in str(row)]
    assert not [body for _, body, _ in machine.tasks.enqueued if secret in orjson.dumps(body).decode()]


def test_a_new_channel_is_followed_by_a_look_at_everything(machine):
    assert machine.looks() == 1
    assert machine.state.channel.replaces is None


def test_every_channel_has_a_secret_of_its_own(machine):
    machine.provider.live.clear()
    machine.channel()
    assert len(set(machine.provider.secrets.values())) == 2


def test_a_channel_is_prolonged_at_half_of_its_life_and_keeps_its_id(machine):
    opened, looks = machine.clock.now(), machine.looks()
    machine.later(LIFE / 2 - JITTER - 120)
    assert machine.provider.prolonged == []
    machine.later(JITTER + 240)
    assert machine.provider.prolonged == ["sub-1"]
    assert machine.state.channel.expires_at > opened + 1.4 * LIFE
    assert machine.state.channel_ids == ("sub-1",)
    assert machine.looks() == looks, "nothing was missed"
    machine.later(20 * DAY)
    assert machine.provider.opened == 1
    assert len(machine.provider.prolonged) == 6


@pytest.mark.parametrize("there", [False, True], ids=["gone", "forgotten"])
def test_a_channel_that_cannot_be_prolonged_is_replaced_before_it_is_closed(machine, there):
    if there:
        machine.provider.forgotten.add("sub-1")
    else:
        machine.provider.live.clear()
    order: list[str] = []
    machine.start(around=order.append)
    machine.channel()
    assert machine.state.channel.id == "sub-2"
    assert machine.state.channel.replaces is None
    assert list(machine.provider.live) == ["sub-2"]
    assert machine.provider.closed == ["sub-1"]
    assert machine.provider.most == (2 if there else 1)
    assert machine.looks() == 1
    steps = [call for call in order if call in ("open_channel", "after commit", "after enqueue", "close_channel")]
    assert steps == ["open_channel", "after commit", "after enqueue", "close_channel", "after commit"]


def test_an_old_id_goes_on_ringing_until_later_replacements_and_then_its_route_goes(machine):
    for number in range(2, IDS_KEPT + 3):
        machine.provider.live.clear()
        machine.channel()
        ids = tuple(f"sub-{n}" for n in range(max(1, number - IDS_KEPT + 1), number + 1))
        assert machine.state.channel_ids == ids
        for n in range(1, number + 1):
            assert (machine.route(f"sub-{n}") is not None) == (f"sub-{n}" in ids)
            assert machine.tell(f"sub-{n}") == (f"sub-{n}" in ids)


def test_a_crash_before_the_new_channel_is_written_down_leaves_one_channel_in_the_end(machine):
    machine.provider.live.clear()

    def crash(_writes: Any) -> None:
        raise Crash

    machine.store.before_commit.append(crash)
    with pytest.raises(Crash):
        machine.channel()
    assert list(machine.provider.live) == ["sub-2"]
    assert machine.route("sub-2") is None
    machine.start()
    machine.channel()
    assert list(machine.provider.live) == ["sub-3"]
    assert machine.state.channel.id == "sub-3"


@pytest.mark.parametrize("point", ["after commit", "before enqueue", "after enqueue", "close_channel"])
def test_a_crash_after_the_new_channel_is_written_down_ends_with_the_old_one_closed_and_a_look(machine, point):
    machine.provider.forgotten.add("sub-1")

    def crash(call: str) -> None:
        if call == point:
            raise Crash

    machine.start(around=crash)
    with pytest.raises(Crash):
        machine.channel()
    assert machine.state.channel.id == "sub-2"
    assert machine.state.channel.replaces == "sub-1"
    assert sorted(machine.provider.live) == ["sub-1", "sub-2"]
    machine.start()
    machine.channel()
    assert list(machine.provider.live) == ["sub-2"]
    assert machine.state.channel.replaces is None
    assert machine.looks() == (0 if point in ("after enqueue", "close_channel") else 1), "pending ones are shared"
    assert machine.provider.most == 2


def test_an_answer_that_was_lost_is_no_failed_commit(machine):
    machine.provider.live.clear()
    machine.store.after_commit.append(machine.lose_answer)
    machine.channel()
    assert machine.state.channel.id == "sub-2"
    assert list(machine.provider.live) == ["sub-2"]


def test_a_conflict_with_another_step_is_written_anew(machine):
    machine.provider.live.clear()
    machine.store.before_commit.append(lambda _: _touch(machine))
    machine.channel()
    assert machine.state.channel.id == "sub-2"
    assert machine.state.push_gaps == 7
    assert machine.route("sub-2") is not None


def test_a_channel_whose_commit_failed_is_closed_again(machine):
    machine.provider.live.clear()

    def away(_writes: Any) -> None:
        raise Retry("The store is away.")

    machine.store.before_commit.append(away)
    with pytest.raises(Retry):
        machine.channel()
    assert machine.provider.closed == ["sub-2"]
    assert machine.provider.live == {}
    machine.channel()
    assert list(machine.provider.live) == [machine.state.channel.id] == ["sub-3"]


def test_a_channel_that_was_opened_while_its_mailbox_was_left_is_closed_again(machine):
    machine.provider.live.clear()

    def leave(call: str) -> None:
        if call == "opened":
            machine.provider.on_call = no_hook
            machine.accounts.disconnect(UID, "microsoft")

    machine.provider.on_call = leave
    machine.channel()
    assert machine.provider.live == {}
    assert machine.route("sub-2") is None
    machine.run(60)
    assert machine.state.channel is None


def test_a_channel_that_was_prolonged_while_its_mailbox_was_left_is_closed(machine):
    machine.store.before_commit.append(lambda _: machine.accounts.disconnect(UID, "microsoft"))
    machine.channel()
    machine.run(60)
    assert machine.provider.live == {}
    assert machine.state.channel is None


def test_a_channel_step_of_an_old_epoch_leaves_the_channel_of_the_new_one(machine):
    def reconnected(_writes: Any) -> None:
        machine.clock.advance(2)
        machine.connect()
        machine.run(5)

    machine.store.before_commit.append(reconnected)
    sync.step(machine.ctx, StepTask(MAILBOX, "channel", epoch=machine.state.epoch))
    machine.run(60)
    assert list(machine.provider.live) == [machine.state.channel.id]


@pytest.mark.parametrize("removed", [False, True], ids=["both live", "ours removed theirs"])
def test_of_two_steps_that_open_a_channel_at_once_one_is_written_down_and_lives(machine, removed):
    machine.provider.live.clear()

    def faster(_writes: Any) -> None:
        ours = dict(machine.provider.live)
        machine.channel()
        assert machine.state.channel.id == "sub-3"
        if removed:
            machine.provider.live = ours

    machine.store.before_commit.append(faster)
    machine.channel()
    assert list(machine.provider.live) == [machine.state.channel.id] == [f"sub-{4 if removed else 3}"]
    assert machine.route("sub-2") is None


def test_disconnecting_closes_the_channel_by_its_id_and_connecting_opens_another(machine):
    machine.accounts.disconnect(UID, "microsoft")
    machine.run(30)
    assert machine.provider.closed == ["sub-1", ""]
    assert machine.state.channel is None
    machine.connect()
    machine.run(30)
    assert list(machine.provider.live) == [machine.state.channel.id] == ["sub-2"]
    assert machine.state.channel_ids == ("sub-1", "sub-2")


def test_leaving_in_the_midst_of_a_replacement_closes_both(machine):
    machine.provider.forgotten.add("sub-1")
    machine.start(around=lambda call: (_ for _ in ()).throw(Crash) if call == "before enqueue" else None)
    with pytest.raises(Crash):
        machine.channel()
    machine.start()
    machine.accounts.disconnect(UID, "microsoft")
    machine.run(60)
    assert machine.provider.live == {}
    assert machine.state.channel is None


def test_a_channel_that_nobody_lived_to_write_down_goes_with_its_mailbox(tmp_path):
    machine = Outlook(tmp_path)
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    opening = machine.claim(kind="channel")
    machine.start(around=lambda call: (_ for _ in ()).throw(Crash) if call == "opened" else None)
    with pytest.raises(Crash):
        machine.deliver(opening)
    assert len(machine.provider.live) == 1
    machine.start()
    machine.accounts.disconnect(UID, "microsoft")
    machine.run(60)
    assert machine.provider.live == {}


def test_a_stop_that_meets_a_mailbox_connected_anew_has_its_channel_looked_at(machine):
    machine.accounts.disconnect(UID, "microsoft")
    stopping = machine.claim(kind="channel")

    def reconnect(call: str) -> None:
        if call == "close_channel":
            machine.provider.on_call = no_hook
            machine.connect()
            machine.run(20)  # the channel on record is prolonged, and closed only then

    machine.provider.on_call = reconnect
    machine.deliver(stopping)
    machine.run(180, ticks=True)
    assert machine.state.active
    assert list(machine.provider.live) == [machine.state.channel.id]


def test_erasing_leaves_no_route_behind(machine):
    machine.provider.live.clear()
    machine.channel()
    writes = unrouted_channels(machine.ctx, machine.state)
    assert {write.ref for write in writes} == {refs.route("MICROSOFT", id_) for id_ in ("sub-1", "sub-2")}
    machine.accounts.erase(UID, MAILBOX)
    machine.run(60)
    assert load(machine.ctx, MAILBOX) is None
    assert machine.provider.live == {}
    assert machine.route("sub-1") is None
    assert machine.route("sub-2") is None
    assert machine.tell("sub-2") == 0


def test_an_old_channel_that_may_not_be_closed_does_not_hold_the_new_one_up(machine):
    machine.provider.forgotten.add("sub-1")
    machine.provider.refuses_closing = True
    machine.channel()
    assert machine.state.channel.id == "sub-2"
    assert machine.state.channel.replaces is None
    assert machine.state.last_error is None


def test_reauthorization_leads_to_exactly_one_prolongation(machine):
    for _ in range(3):
        assert machine.tell("sub-1", lifecycleEvent="reauthorizationRequired") == 1
        machine.run(60)
    assert machine.provider.prolonged == ["sub-1"]
    assert machine.provider.opened == 1
    machine.run(1_200, ticks=True)
    assert machine.provider.prolonged == ["sub-1"]


def test_a_removed_channel_is_opened_again_and_what_it_did_not_tell_of_is_found(machine):
    machine.provider.live.clear()
    machine.provider.deliver("unannounced")
    machine.tell("sub-1", lifecycleEvent="subscriptionRemoved")
    machine.run(20)
    assert list(machine.provider.live) == ["sub-2"]
    assert "unannounced" in machine.documents(MAILBOX)
    assert machine.provider.most == 1


def test_what_a_channel_missed_is_found_without_touching_it(machine):
    machine.provider.deliver("unannounced")
    machine.tell("sub-1", lifecycleEvent="missed")
    machine.run(20)
    assert "unannounced" in machine.documents(MAILBOX)
    assert (machine.provider.opened, machine.provider.prolonged) == (1, [])


def test_two_mailboxes_of_one_account_share_its_channel(machine):
    machine.connect("user_two")
    machine.run(30)
    assert machine.provider.opened == 1
    assert machine.of(OTHER).channel.id == machine.state.channel.id == "sub-1"
    assert machine.route("sub-1")["mailboxes"] == [MAILBOX, OTHER]
    assert machine.tell("sub-1") == 2
    machine.later(20 * DAY)
    assert machine.provider.opened == 1
    machine.accounts.disconnect(UID, "microsoft")
    machine.run(30)
    assert list(machine.provider.live) == ["sub-1"], "it serves the other"
    machine.accounts.disconnect("user_two", "microsoft")
    machine.run(30)
    assert machine.provider.live == {}


def test_the_channel_that_replaces_a_shared_one_rings_both_at_once_and_in_the_end_is_the_only_one(machine):
    machine.connect("user_two")
    machine.run(30)
    machine.provider.live.clear()
    machine.channel()
    assert machine.tell("sub-2") == 2
    machine.later(4 * DAY)
    assert machine.of(OTHER).channel.id == machine.state.channel.id == "sub-2"
    assert list(machine.provider.live) == ["sub-2"]


def _touch(machine: Outlook) -> None:
    """Another step writes the mailbox."""
    ref = refs.stream(MAILBOX)
    doc = machine.store.inner.get([ref])[ref]
    machine.store.inner.commit([Update(ref, {"push_gaps": 7}, doc.version)])
