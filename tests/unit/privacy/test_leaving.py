"""Whoever leaves is gone: in mid-backfill, with two mailboxes, nothing is left of them but a tombstone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.local.catalogue import load
from shared import queries, refs
from shared.adapters.embedded.tasks import NAME_SECONDS
from shared.errors import ProviderUnavailable
from shared.events import types
from shared.identity.tokens import Principal
from shared.ports import Delete, Write
from shared.privacy import erasure
from shared.privacy.deletion import Deletion
from shared.privacy.erasure import LONGEST_REQUEST, STOPPED_WITHIN
from shared.privacy.tasks import DELETE
from shared.providers.http.transport import Transport
from tests.leaving import MAILS, LeavingWorld, alone, backfills, expect_nothing_left, tables_that_name
from tests.world import ADDRESS, MAILBOX, OUTLOOK, UID

CLOCKS_DIFFER_BY = 600.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LeavingWorld]:
    world = LeavingWorld(tmp_path)
    yield world
    world.close()


def test_every_request_is_over_before_the_last_look() -> None:
    longest = max(function.timeout_seconds for function in load())
    assert longest + CLOCKS_DIFFER_BY <= LONGEST_REQUEST


@pytest.mark.parametrize("mailbox", [MAILBOX, OUTLOOK])
def test_of_somebody_who_leaves_in_mid_backfill_nothing_is_left_but_a_tombstone(
    world: LeavingWorld, mailbox: str
) -> None:
    expect_nothing_left(world, mailbox)


def test_a_step_that_was_running_when_its_person_left_writes_nothing(world: LeavingWorld) -> None:
    world.settle_in()
    struck = world.leave_when(backfills(MAILBOX, after=2))
    world.run(LONGEST_REQUEST - 1)
    [writes] = struck
    assert len(writes) > 5
    behind_the_fence = {ref for ref in world.store.written_since or () if ref.startswith(f"{refs.user(UID)}/")}
    mailboxes = {refs.stream(name) for name in (MAILBOX, OUTLOOK)}
    assert behind_the_fence <= mailboxes, "which say of themselves how far their erasure is"


def test_readers_outside_are_told_of_the_end_once_and_last(world: LeavingWorld) -> None:
    world.settle_in()
    assert world.leave() == 202
    world.run(LONGEST_REQUEST - 60)
    assert not [one for one in world.received if one.attributes["ce-type"] == types.ACCOUNT_DELETED]
    world.run(120)
    own = [one.attributes for one in world.received if one.attributes["ce-source"] == refs.app_stream(UID)]
    assert [one["ce-type"] for one in own] == ["note.written", types.ACCOUNT_DELETED]
    assert [int(one["ce-sequence"]) for one in own] == [1, 2]


def test_the_providers_are_told_channels_stopped_and_the_grant_revoked(world: LeavingWorld) -> None:
    world.settle_in()
    world.run(60)
    assert world.leave() == 202
    world.run(60)
    google = world.google.report()["requests"]
    assert (google["users.stop"], google["revoke"]) == (1, 1)
    assert world.outlook.report()["requests"]["subscriptions.delete"] == 1


def test_within_a_minute_only_the_fence_and_the_person_s_own_stream_are_left(world: LeavingWorld) -> None:
    world.settle_in()
    world.run(60)
    assert world.leave() == 202
    world.run(60)
    own = refs.stream(refs.app_stream(UID))
    stays = (own, refs.user(UID) + "/audit/", refs.watermark("senders", refs.app_stream(UID)), "limits/")
    left = {ref for ref in world.store.left() if not ref.startswith(stays)}
    assert left == {refs.user(UID)}
    assert not [ref for ref in world.keys.left() if ref.startswith("keys/")]


def test_a_token_that_outlives_its_person_is_refused_everywhere_and_makes_nothing_anew(world: LeavingWorld) -> None:
    world.settle_in()
    assert world.leave() == 202
    for seconds in (0, 120, LONGEST_REQUEST + 120):
        world.run(seconds)
        for function, method, path, body in (
            ("api", "GET", "/me", None),
            ("api", "POST", "/mail/connect", {"provider": "google"}),
            ("api", "POST", "/mail/connect", {"provider": "google", "access_token": "a", "refresh_token": "r"}),
            ("api", "POST", "/events", {"type": "note.written", "data": {}}),
            ("api", "GET", "/mail/status", None),
            ("api", "GET", f"/mail/messages?mailbox={MAILBOX}", None),
            ("api", "GET", "/events", None),
            ("api", "GET", "/me/audit", None),
            ("api", "GET", "/me/exports", None),
            ("oauth", "POST", "/oauth/google/start", {}),
            ("oauth", "GET", "/api/auth/accounts", None),
            ("oauth", "GET", "/api/auth/accounts/google/token", None),
        ):
            status, answer = world.call(function, method, path, body, Authorization=f"Bearer {world.token}")
            assert (status, answer["error"]["code"]) == (410, "account_deleted"), path
        assert world.leave() == 202
    assert alone(world)


def test_whoever_leaves_before_they_were_ever_seen_is_refused_from_then_on(world: LeavingWorld) -> None:
    assert world.leave() == 202
    assert world.call("api", "GET", "/me", Authorization=f"Bearer {world.token}")[0] == 410
    world.run(LONGEST_REQUEST + 60)
    assert alone(world)


def test_whoever_signed_up_here_loses_logins_and_sessions_and_may_sign_up_as_somebody_else(world: LeavingWorld) -> None:
    person = {"email": "eve@example.org", "password": "correct horse battery"}
    status, account = world.call("auth", "POST", "/api/auth/sign-up/email", person)
    assert status == 201
    uid = account["user"]["user_id"]
    Deletion(world.store, world.ports.tasks, world.clock, world.product._tombstones).begin(Principal(uid))
    refresh = {"refresh_token": account["refresh_token"]}
    for seconds in (0, 30, LONGEST_REQUEST + 60):
        world.run(seconds)
        assert world.call("auth", "POST", "/api/v1/auth/refresh", refresh)[0] == 401
        if not seconds:
            assert world.call("auth", "POST", "/api/auth/sign-in/email", person)[0] == 401
    assert not [ref for ref in world.store.left() if ref.startswith(("logins/", refs.user(uid)))]
    status, another = world.call("auth", "POST", "/api/auth/sign-up/email", person)
    assert (status, another["user"]["user_id"] != uid) == (201, True)


def test_a_step_that_is_late_does_not_take_the_login_of_who_has_signed_up_since(world: LeavingWorld) -> None:
    person = {"email": "eve@example.org", "password": "correct horse battery"}
    uid = world.call("auth", "POST", "/api/auth/sign-up/email", person)[1]["user"]["user_id"]
    Deletion(world.store, world.ports.tasks, world.clock, world.product._tombstones).begin(Principal(uid))

    def step() -> int:
        profile = world.store.inner.get([refs.user(uid)])[refs.user(uid)].data
        task = {"uid": uid, "fenced_at": profile["erasing"], "turn": profile["turn"]}
        return world.call("privacy", "POST", DELETE.removeprefix("/privacy"), task)[0]

    struck: list[int] = []

    def strike(writes: Sequence[Write]) -> None:
        if not struck and any(isinstance(write, Delete) and write.ref.startswith("logins/") for write in writes):
            struck.append(0)
            struck[:] = [step(), world.call("auth", "POST", "/api/auth/sign-up/email", person)[0]]

    assert step() == 200
    world.store.before_commit = strike
    assert step() == 409, "so the queue brings it back"
    assert struck == [200, 201]
    assert world.call("auth", "POST", "/api/auth/sign-in/email", person)[0] == 200
    world.run(LONGEST_REQUEST + 60)
    assert refs.user(uid) not in world.store.left()
    assert world.call("auth", "POST", "/api/auth/sign-in/email", person)[0] == 200


def test_a_link_to_consent_that_was_given_out_before_leads_nowhere(world: LeavingWorld) -> None:
    answer = world.call("oauth", "POST", "/oauth/google/start", {}, Authorization=f"Bearer {world.token}")[1]
    assert world.browser().open(answer["consent_url"]).forms
    assert world.leave() == 202
    assert not world.browser().open(answer["consent_url"]).forms


def test_nobody_else_loses_anything(world: LeavingWorld) -> None:
    settle_in_with_bob(world)
    assert world.as_bob("POST", "/events", {"type": "note.written", "data": {}})[0] == 201
    world.run(30)
    before = {ref: data for ref, data in world.store.left().items() if "bob" in ref}
    assert world.leave() == 202
    world.run(LONGEST_REQUEST + 60)
    assert {ref for ref in world.store.left() if "bob" in ref} >= before.keys()
    assert world.google.report()["requests"].get("revoke", 0) == 0, "of an account that somebody else follows too"
    assert world.google.report()["requests"].get("users.stop", 0) == 0
    world.google.add_mails(ADDRESS, [{"subject": "s", "sender": ["C", "c@example.org"], "to": [["", ADDRESS]],
                                      "labels": ("INBOX",), "body": "b", "date": world.clock.now()}])  # fmt: skip
    world.run(30)
    [mailbox] = world.as_bob("GET", "/mail/status")[1]["mailboxes"]
    assert mailbox["status"] == "live"
    assert len(world.as_bob("GET", "/mail/messages?limit=500&mailbox=bob:primary:GOOGLE")[1]["messages"]) == 61


def out_of_reach(patch: pytest.MonkeyPatch, *places: str) -> list[str]:
    """Have no request come through whose address holds one of these; answers those that were tried."""
    tried: list[str] = []
    send = Transport.send

    def away(self: Transport, uri: str, *request: Any) -> Any:
        if any(place in uri for place in places):
            tried.append(uri)
            raise ProviderUnavailable("It cannot be reached.")
        return send(self, uri, *request)

    patch.setattr(Transport, "send", away)
    return tried


def grants(world: LeavingWorld) -> list[str]:
    return [refs.key(ref).partition(":")[0] for ref in world.store.left() if "/grants/" in ref]


def test_a_provider_out_of_reach_keeps_no_token_of_the_other_and_its_own_until_they_are_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erasure, "REVOKED_WITHIN", 3600.0)
    world = LeavingWorld(tmp_path, tick_seconds=900.0)
    world.settle_in()
    world.run(60)
    with monkeypatch.context() as patch:
        out_of_reach(patch, "google.test")
        assert world.leave() == 202
        world.run(30)
        assert grants(world) == ["google"]
        world.run(3 * 3600)
        assert grants(world) == ["google"], "which the mailbox needs whose channel rings"
        assert 4 < caplog.text.count("could not be revoked now") < 12, "more and more rarely"
    world.run(3600 + 60)
    assert world.google.report()["requests"]["revoke"] == 1
    assert alone(world)
    world.close()


def test_a_grant_is_revoked_though_its_channel_cannot_be_stopped(
    world: LeavingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle_in()
    world.run(60)
    tried = out_of_reach(monkeypatch, "users/me/stop")
    assert world.leave() == 202
    world.run(STOPPED_WITHIN - 60)
    assert tried
    assert world.google.report()["requests"].get("revoke", 0) == 0
    world.run(120)
    assert world.google.report()["requests"]["revoke"] == 1
    assert grants(world) == []
    world.run(2 * 3600)  # an instance may remember the access token for an hour
    assert alone(world)


def as_bob_connects(world: LeavingWorld, address: str = ADDRESS) -> None:
    tokens = world.google.add_mailbox(address)
    brought = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}
    assert world.as_bob("POST", "/mail/connect", {"provider": "google", **brought})[0] == 200


def bobs_status(world: LeavingWorld) -> str:
    """How Bob's mailbox is once every access token has expired that was given before."""
    world.run(2 * 3600)
    [mailbox] = world.as_bob("GET", "/mail/status")[1]["mailboxes"]
    return str(mailbox["status"])


def settle_in_with_bob(world: LeavingWorld) -> None:
    world.settle_in()
    as_bob_connects(world)
    world.run(300)


def revocations(world: LeavingWorld) -> int:
    return int(world.google.report()["requests"].get("revoke", 0))


@pytest.mark.parametrize("has_died", [False, True])
def test_whoever_leaves_before_an_account_was_named_does_not_end_it_for_somebody_else(
    world: LeavingWorld, has_died: bool
) -> None:
    as_bob_connects(world)
    world.run(60)
    world.connect()
    if has_died:  # as a callback may, between keeping the grant and connecting its account
        world.product.accounts.erase(UID, MAILBOX)
        world.run(5)
        assert (grants(world).count("google"), world.store.query(queries.mailboxes_of(UID))) == (2, [])
    assert world.leave() == 202
    if not has_died:
        world.fence_mailboxes()
    world.run(60)
    assert not [ref for ref in world.store.left() if ref.startswith(f"{refs.user(UID)}/grants/")]
    world.run(LONGEST_REQUEST + 60)
    assert refs.user(UID) not in world.store.left()
    assert revocations(world) == 0
    assert bobs_status(world) == "live"


def test_a_grant_whose_account_was_never_named_and_is_nobody_elses_is_revoked(world: LeavingWorld) -> None:
    as_bob_connects(world, "bob@example.org")
    world.run(60)
    world.connect()
    assert world.leave() == 202
    world.fence_mailboxes()
    world.run(30)
    assert revocations(world) == 1
    world.run(LONGEST_REQUEST + 60)
    assert refs.user(UID) not in world.store.left()
    assert bobs_status(world) == "live"


def test_tokens_that_were_brought_and_not_tried_yet_are_not_taken_for_the_mailboxs_account(world: LeavingWorld) -> None:
    as_bob_connects(world, "bob@example.org")
    world.connect()
    world.run(60)
    tokens = world.google.add_mailbox("bob@example.org")
    brought = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}
    assert world.api("POST", "/mail/connect", {"provider": "google", **brought})
    assert world.leave() == 202
    world.fence_mailboxes()
    world.run(LONGEST_REQUEST + 60)
    assert refs.user(UID) not in world.store.left()
    assert revocations(world) == 1, "of her own"
    assert bobs_status(world) == "live"


def test_nobody_loses_an_account_that_their_own_mailbox_has_not_named_yet(
    world: LeavingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    world.run(60)
    with monkeypatch.context() as patch:
        tried = out_of_reach(patch, "profile")
        as_bob_connects(world)
        world.run(5)
        assert tried
        assert world.leave() == 202
        world.run(60)
        assert grants(world) == ["google", "google"]
        patch.undo()
    assert bobs_status(world) == "live"
    assert revocations(world) == 0
    assert refs.user(UID) not in world.store.left()


def test_of_two_who_leave_one_account_neither_leaves_its_revocation_to_the_other(
    world: LeavingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in_with_bob(world)
    tried = out_of_reach(monkeypatch, "users/me/stop")
    assert world.leave() == world.as_bob("DELETE", "/me")[0] == 202
    world.run(STOPPED_WITHIN - 60)
    assert tried
    assert len(world.store.query(queries.mailboxes_of("bob")) + world.store.query(queries.mailboxes_of(UID))) == 2
    world.run(120)
    assert world.google.report()["requests"]["revoke"] >= 1


@pytest.mark.parametrize("pause", [0.0, 1.0, 30.0, LONGEST_REQUEST + 60])
def test_of_two_who_leave_one_account_the_last_one_has_it_revoked(world: LeavingWorld, pause: float) -> None:
    settle_in_with_bob(world)
    assert world.leave() == 202
    world.run(pause)
    assert world.as_bob("DELETE", "/me")[0] == 202
    world.run(LONGEST_REQUEST + 120)
    left = {ref.partition("/")[0] for ref in world.store.left()} - {"limits"}
    assert left == {"tombstones"}
    assert world.google.report()["requests"]["revoke"] >= 1


def meanwhile(world: LeavingWorld, is_time: Callable[[Sequence[Write]], bool]) -> list[bool]:
    """Have the person leave while a request of theirs is about to commit, and all but the last look pass."""
    struck: list[bool] = []

    def strike(writes: Sequence[Write]) -> None:
        if not struck and is_time(writes):
            struck.append(True)
            assert world.leave() == 202
            world.run(LONGEST_REQUEST - 60)

    world.store.before_commit = strike
    return struck


@pytest.mark.parametrize(
    ("method", "path", "body", "writes", "status"),
    [
        ("POST", "/mail/connect", {"provider": "google", "access_token": "a", "refresh_token": "r"}, "/grants/", 410),
        ("POST", "/mail/connect", {"provider": "google"}, "oauth/", 409),
        ("POST", "/events", {"type": "note.written", "data": {}}, "/streams/", 201),
    ],
)
def test_what_a_request_wrote_that_was_under_way_all_the_time_goes_as_well(
    world: LeavingWorld, method: str, path: str, body: Any, writes: str, status: int
) -> None:
    assert world.call("api", "GET", "/me", Authorization=f"Bearer {world.token}")[0] == 200
    struck = meanwhile(world, lambda commit: any(writes in write.ref for write in commit))
    assert world.call("api", method, path, body, Authorization=f"Bearer {world.token}")[0] == status
    assert struck
    assert [ref for ref in world.store.left() if writes in ref], "it was written behind the fence"
    world.run(240)
    assert alone(world)
    told = [one.attributes["ce-type"] for one in world.received if one.attributes["ce-source"] == refs.app_stream(UID)]
    assert told[-1] == types.ACCOUNT_DELETED


def test_a_mailbox_cannot_be_made_behind_the_fence(world: LeavingWorld) -> None:
    tokens = world.google.add_mailbox(ADDRESS)
    world.api("GET", "/me")
    struck = meanwhile(world, lambda commit: any(write.ref == refs.stream(MAILBOX) for write in commit))
    brought = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}
    status, answer = world.call(
        "api", "POST", "/mail/connect", {"provider": "google", **brought}, Authorization=f"Bearer {world.token}"
    )
    assert struck
    assert (status, answer["error"]["code"]) == (410, "account_deleted")
    assert world.store.query(queries.mailboxes_of(UID)) == []


def test_nothing_can_be_carved_out_of_the_files_either(world: LeavingWorld, tmp_path: Path) -> None:
    world.settle_in()
    world.run(300)
    words = (b"bob@example.org", ADDRESS.encode())

    def found() -> int:
        world.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
        return sum(content.count(word) for content in files for word in words)

    assert found() > MAILS
    assert world.leave() == 202
    world.run(LONGEST_REQUEST + 120)
    assert alone(world)
    assert found() == 0


def test_after_a_day_no_table_of_any_database_names_who_has_left(tmp_path: Path) -> None:
    world = LeavingWorld(tmp_path, tick_seconds=900.0)
    world.settle_in()
    world.run(60)
    assert tables_that_name(world, UID) >= {"brainstem.sqlite/doc", "brainstem.sqlite/task_spent", "keys.sqlite/doc"}
    assert world.leave() == 202
    world.run(LONGEST_REQUEST + 120)
    assert tables_that_name(world, UID) == {"brainstem.sqlite/task_spent"}, "so that a task that comes late is known"
    world.run(NAME_SECONDS + 2 * 900)  # a world that rests looks at its queues with each tick
    assert tables_that_name(world, UID, ADDRESS) == set()
    world.close()


def test_a_deletion_that_stands_still_is_taken_up_again_by_the_tick(world: LeavingWorld) -> None:
    world.settle_in()
    assert world.leave() == 202
    tasks: Any = world.ports.tasks
    for delivery in tasks.claim(1000):
        if delivery.queue == "privacy":
            tasks.settle(delivery, 200)  # lost: nobody has taken the step
        else:
            tasks.settle(delivery, 503)
    world.run(2 * LONGEST_REQUEST + 300)
    assert alone(world)
