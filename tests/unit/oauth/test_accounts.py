"""Which mailbox a verified account is followed in: its own, wherever its tokens came from, and never another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import refs
from shared.ports import Create, Delete, Query
from tests.machine import MAILBOX, UID, Machine

GRANT = "google:1234567890"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def mailboxes(machine: Machine) -> dict[str, dict[str, object]]:
    docs = machine.store.query(Query("mailboxes", refs.user(UID), limit=500))
    return {str(doc.data["slot"]): doc.data for doc in docs}


def connected(machine: Machine, address: str | None = "ann@example.org", grant_id: str = GRANT) -> None:
    if refs.user(UID) not in machine.store.get([refs.user(UID)]):
        machine.store.commit([Create(refs.user(UID), {"uid": UID})])
    machine.accounts.connect_account(UID, "google", grant_id, address)


def test_the_first_account_gets_the_first_mailbox_and_is_followed(machine: Machine) -> None:
    connected(machine)
    machine.run(20)
    assert (machine.state.status, machine.state.grant_id) == ("live", GRANT)


def test_the_same_grant_resumes_its_mailbox_and_keeps_its_stream(machine: Machine) -> None:
    connected(machine)
    machine.run(20)
    machine.accounts.disconnect(UID, "google")
    machine.run(5)
    head = machine.state.head
    connected(machine)
    machine.run(20)
    assert machine.state.status == "live"
    assert machine.state.head > head
    assert len(mailboxes(machine)) == 1


def test_an_account_that_was_connected_with_brought_tokens_is_known_by_its_address(machine: Machine) -> None:
    machine.followed(mails=3)
    for grant_id in (GRANT, "google:primary"):
        machine.store.commit([Create(refs.grant(UID, grant_id), {})])
    connected(machine, "Ann@Example.org")
    assert machine.state.candidate == GRANT
    machine.run(20)
    assert (machine.state.grant_id, machine.state.candidate) == (GRANT, None)
    assert list(mailboxes(machine)) == ["primary"]
    assert not machine.store.get([refs.grant(UID, "google:primary")])
    machine.verify()


@pytest.mark.parametrize("address", ["bob@example.org", None])
def test_another_account_gets_a_mailbox_of_its_own(machine: Machine, address: str | None) -> None:
    machine.followed()
    before = machine.state
    connected(machine, address)
    assert {slot: mailbox["grant_id"] for slot, mailbox in mailboxes(machine).items()} == {
        "primary": before.grant_id,
        "m2": GRANT,
    }
    assert machine.state == before


def test_a_grant_that_waits_to_be_tried_is_known_as_well(machine: Machine) -> None:
    machine.followed()
    connected(machine, "ann@example.org")
    connected(machine, None)
    assert list(mailboxes(machine)) == ["primary"]
    assert machine.state.candidate == GRANT


def test_a_mailbox_that_never_worked_gives_its_place_to_an_account_that_does(machine: Machine) -> None:
    machine.connect()
    dead = {"google:primary"}
    machine.ctx.grants.usable = lambda uid, grant_id: grant_id not in dead  # type: ignore[method-assign]
    connected(machine)
    machine.run(20)
    assert list(mailboxes(machine)) == ["primary"]
    assert (machine.state.status, machine.state.grant_id) == ("live", GRANT)


def test_a_mailbox_that_is_being_connected_keeps_its_place(machine: Machine) -> None:
    machine.connect()
    connected(machine)
    assert set(mailboxes(machine)) == {"primary", "m2"}


def test_two_callbacks_for_one_new_account_make_one_mailbox(machine: Machine) -> None:
    machine.store.commit([Create(refs.user(UID), {"uid": UID})])
    machine.store.before_commit.append(lambda _: connected(machine))
    connected(machine)
    assert list(mailboxes(machine)) == ["primary"]
    assert machine.store.get([refs.user(UID)])[refs.user(UID)].data["slots"] == {"GOOGLE": 1}


def test_two_callbacks_that_both_saw_no_mailbox_make_one(machine: Machine) -> None:
    """The second looks before the first has written, and reads the user after."""
    machine.store.commit([Create(refs.user(UID), {"uid": UID})])
    accounts = machine.accounts
    query = machine.store.query
    calls = []

    def overtaken(wanted: Query) -> object:
        found = query(wanted)
        if not calls:
            calls.append(wanted)
            accounts.connect_account(UID, "google", GRANT, None)
        return found

    object.__setattr__(machine.ctx, "store", _Overtaken(machine.store, overtaken))
    accounts.connect_account(UID, "google", GRANT, None)
    assert list(mailboxes(machine)) == ["primary"]


class _Overtaken:
    def __init__(self, store: object, query: object) -> None:
        self._store, self.query = store, query

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_which_grants_an_account_has(machine: Machine) -> None:
    machine.followed()
    ids = machine.accounts.grant_ids
    assert ids(UID, "google", "ann@example.org") == ids(UID, "google", None) == ("google:primary",)
    assert ids(UID, "google", "bob@example.org") == ()
    connected(machine, "ann@example.org")
    assert ids(UID, "google", "ANN@example.org") == (GRANT, "google:primary")
    connected(machine, "bob@example.org", "google:2")
    assert ids(UID, "google", None) == ()


def test_an_account_that_turns_out_to_be_another_changes_nothing(machine: Machine) -> None:
    machine.followed(mails=2)
    machine.provider.address = "bob@example.org"
    connected(machine, "ann@example.org")
    machine.run(20)
    assert machine.state.grant_id == "google:primary"
    assert "another account" in (machine.state.last_error or "")
    assert refs.stream(MAILBOX) in machine.store.get([refs.stream(MAILBOX)])


def test_another_account_that_took_the_place_of_one_that_never_worked_keeps_it(machine: Machine) -> None:
    """The first comes back before the second was ever tried: nobody's consent may be lost over that."""
    machine.connect()
    dead = {"google:primary"}
    machine.ctx.grants.usable = lambda uid, grant_id: grant_id not in dead  # type: ignore[method-assign]
    connected(machine, None, GRANT)
    assert (machine.state.grant_id, machine.state.candidate) == (GRANT, None)
    dead.clear()
    connected(machine, None, "google:2")
    connected(machine, None, GRANT)
    assert {slot: mailbox["grant_id"] for slot, mailbox in mailboxes(machine).items()} == {
        "primary": GRANT,
        "m2": "google:2",
    }


def test_of_two_accounts_that_want_the_place_of_one_that_never_worked_each_gets_a_mailbox(machine: Machine) -> None:
    machine.connect()
    dead = {"google:primary"}
    machine.ctx.grants.usable = lambda uid, grant_id: grant_id not in dead  # type: ignore[method-assign]
    machine.store.before_commit.append(lambda _: connected(machine, "bob@example.org", "google:2"))
    connected(machine)
    assert {slot: mailbox["grant_id"] for slot, mailbox in mailboxes(machine).items()} == {
        "primary": "google:2",
        "m2": GRANT,
    }


def test_a_grant_that_never_worked_goes_when_another_takes_its_place(machine: Machine) -> None:
    machine.connect()
    machine.store.commit([Create(refs.grant(UID, "google:primary"), {})])
    machine.ctx.grants.usable = lambda uid, grant_id: False  # type: ignore[method-assign]
    connected(machine)
    assert not machine.store.get([refs.grant(UID, "google:primary")])


@pytest.mark.parametrize("gone", [False, True])
def test_a_mailbox_that_is_erased_while_its_account_consents_leaves_the_account_a_new_one(
    machine: Machine, gone: bool
) -> None:
    connected(machine)
    machine.run(20)

    def erase(_: object) -> None:
        if gone:
            machine.store.commit([Delete(machine.state.ref)])
        else:
            machine.accounts.erase(UID, MAILBOX)

    machine.store.before_commit.append(erase)
    connected(machine)
    assert mailboxes(machine)["m2"]["grant_id"] == GRANT
    assert gone or mailboxes(machine)["primary"]["erasing"]


def test_an_address_that_has_gone_to_another_account_is_not_the_mailbox_of_the_first(machine: Machine) -> None:
    """An address can be given away; the subject cannot."""
    connected(machine)
    machine.run(20)
    connected(machine, "ann@example.org", "google:2")
    assert {slot: mailbox["grant_id"] for slot, mailbox in mailboxes(machine).items()} == {
        "primary": GRANT,
        "m2": "google:2",
    }
    assert machine.state.candidate is None


def test_an_account_that_has_a_new_address_goes_on_where_it_was(machine: Machine) -> None:
    connected(machine)
    machine.run(20)
    machine.provider.address = "ann.b@example.org"
    connected(machine, "ann.b@example.org")
    machine.run(20)
    assert list(mailboxes(machine)) == ["primary"]
    assert (machine.state.status, machine.state.address) == ("live", "ann.b@example.org")
    old, new = (refs.route("GOOGLE", address) for address in ("ann@example.org", "ann.b@example.org"))
    assert {ref: doc.data["mailboxes"] for ref, doc in machine.store.get([old, new]).items()} == {new: [MAILBOX]}


def test_a_mailbox_whose_creator_died_at_once_is_started_by_the_tick(machine: Machine) -> None:
    calls: list[object] = []

    def die(_: object) -> None:
        calls.append(None)
        if len(calls) == 2:
            raise SystemExit

    machine.store.commit([Create(refs.user(UID), {"uid": UID})])
    machine.store.before_commit.extend([die, die])
    with pytest.raises(SystemExit):
        connected(machine)
    assert machine.state.status == "connecting"
    machine.store.before_commit.clear()
    machine.run(300, ticks=True)
    assert machine.state.status == "live"


def test_tokens_inherit_nothing_from_others_that_nobody_has_tried(machine: Machine) -> None:
    """Whose the others are is not known: with their refresh token another account would be read within the hour."""
    inherited: list[tuple[str, ...]] = []
    machine.ctx.grants.inherit = lambda *names: inherited.append(names)  # type: ignore[method-assign]
    machine.connect()
    machine.accounts.connect(UID, "google", "google:primary-2")
    assert (machine.state.grant_id, machine.state.candidate) == ("google:primary-2", None)
    machine.run(20)
    assert (machine.state.status, inherited) == ("live", [])
