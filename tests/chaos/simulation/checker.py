"""What must hold, each sentence a function with a name: while it runs (``ON_*``), and once it has come to rest.

An invariant yields the details of what is wrong and nothing where all is well. It sees what really happened (``Record``),
never what the product says of itself. Over 300 lines: this is the list, to be read as one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from infra.local.verify import NOT_ANNOUNCED, agrees, expected_message
from shared.mail.folders.places import FOLLOWING
from shared.mail.health import audit_is_due
from shared.mail.message import FIELDS, PLACEHOLDER, PRESENT, TOMBSTONE, public
from shared.mail.schedule import Schedule
from shared.mail.state import read_state
from shared.mail.tasks import SETTLE_MIN
from shared.ports import MAX_COMMIT_BYTES, MAX_DOCUMENT_BYTES, Check, Data, Delete, Doc
from shared.providers.base import newer
from shared.refs import app_stream, owner
from tests.chaos.simulation.host import Crossing, faults_of
from tests.chaos.simulation.record import Answered, Change, Commit, Enqueue, Published

if TYPE_CHECKING:
    from tests.chaos.simulation.world import Simulation

MOST_WRITES = 500
WHOLE_DOCUMENT_BYTES = 1_048_576
BUDGET = {"get": 6.0, "query": 2.5, "commit": 3.0, "publish": 2.0, "enqueue": 2.0, "google": 3.0}
"""Port calls of all functions but tick (whose queries depend on time, not on mail) per mail and change where nothing goes
wrong; small mailboxes in pages of 3 to 100, so this holds what a mailbox and a page cost by themselves."""

OUTLOOK_BUDGET = {"get": 9.0, "query": 3.0, "commit": 6.0, "publish": 2.0, "enqueue": 4.5, "microsoft": 4.0}
"""The same where there are Outlook mailboxes: each doorbell names a message that is read by itself, each walk has a request
and a write for every folder."""

ALLOWANCE = {"factor": 3.0, "per_fault": 40.0}
"""Where things go wrong: so much more, and so many calls more for each fault."""

APPEARED = 5.0
"""Seconds after which a change that the provider has announced can be queried."""

POLL_SLACK = 600.0
"""How much longer than a period a poll may take: a pause that the provider asked for has to end first."""

AT_ONCE, CHANNELS = 4, 2
"""Requests of an instance for one Outlook mailbox, and channels of one account, at a time."""

OVERDUE = 900.0
"""Seconds after which a task that is due and has not begun is stuck."""

F = TypeVar("F", bound=Callable[..., Iterator[str]])
ON_COMMIT: dict[str, Callable[[Simulation, Commit], Iterator[str]]] = {}
ON_PUBLISH: dict[str, Callable[[Simulation, Published], Iterator[str]]] = {}
ON_ENQUEUE: dict[str, Callable[[Simulation, Enqueue], Iterator[str]]] = {}
ON_ANSWER: dict[str, Callable[[Simulation, Answered], Iterator[str]]] = {}
ON_REQUEST: dict[str, Callable[[Simulation, Crossing], Iterator[str]]] = {}
AT_REST: dict[str, Callable[[Simulation], Iterator[str]]] = {}


def _named(place: dict[str, Any]) -> Callable[[F], F]:
    def add(function: F) -> F:
        place[function.__name__] = function
        return function

    return add


@_named(ON_COMMIT)
def commits_and_documents_are_within_their_limits(world: Simulation, commit: Commit) -> Iterator[str]:
    """A commit has at most 500 writes and 3.5 MiB, a write at most 900 kB, a whole document at most 1 MiB."""
    sizes = {
        write.ref: len(orjson.dumps(write.data)) for write in commit.writes if not isinstance(write, (Check, Delete))
    }
    if len(commit.writes) > MOST_WRITES or sum(sizes.values()) > MAX_COMMIT_BYTES:
        yield f"{len(commit.writes)} writes, {sum(sizes.values())} bytes in one commit"
    for ref, size in sizes.items():
        if size > MAX_DOCUMENT_BYTES:
            yield f"{ref} weighs {size} bytes"
    for change in commit.changes:
        if sizes.get(change.ref, 0) > 100_000 and len(orjson.dumps(change.after)) > WHOLE_DOCUMENT_BYTES:
            yield f"{change.ref} has grown over 1 MiB"


@_named(ON_COMMIT)
def sequences_are_contiguous_and_never_reused(world: Simulation, commit: Commit) -> Iterator[str]:
    """What a commit adds to a stream continues its head, event by event, and moves the head to its last event."""
    added: dict[str, list[Data]] = defaultdict(list)
    for change in (*commit.of("log"), *commit.of("applog")):
        if change.before is not None and change.after is not None:
            yield f"the segment {change.ref} is written twice"
        if change.after is not None:
            added[change.after["stream"]] += change.after["events"]
    heads = {change.mailbox: change for change in commit.of("mailbox")}
    heads |= {app_stream(change.ref.split("/")[1]): change for change in commit.of("streams")}
    for stream in added.keys() | heads.keys():
        change = heads.get(stream)
        if change is None:
            yield f"{stream} grows without its head"
            continue
        if change.after is None:
            continue
        before, after = change.before["head"] if change.before else 0, change.after["head"]
        numbers = [event["sequence"] for event in added[stream]]
        if numbers != list(range(before + 1, after + 1)):
            yield f"{stream} goes from {before} to {after} with the events {numbers}"


@_named(ON_COMMIT)
def no_event_id_exists_twice(world: Simulation, commit: Commit) -> Iterator[str]:
    """Of each ce-id there is one event, in all streams together."""
    for stream, event in _events_in(commit):
        seen = world.record.event_ids[event["id"]]
        if seen:
            yield f"{event['type']} {event['sequence']} of {stream} has the id of {seen}"
        seen[stream] = event["sequence"]


@_named(ON_COMMIT)
def a_message_is_announced_once_and_first(world: Simulation, commit: Commit) -> Iterator[str]:
    """There is exactly one ``email.received`` or ``email.sent`` per message, and nothing is said of it before."""
    for stream, event in _events_in(commit):
        if not event["type"].startswith("email."):
            continue
        id_, told = event["data"]["provider_message_id"], world.record.announced[stream]
        if event["type"] in ("email.received", "email.sent"):
            if id_ in told:
                yield f"{id_} of {stream} is announced again by {event['sequence']}"
            told.add(id_)
        elif id_ not in told:
            yield f"{event['type']} of {id_} of {stream} comes before its announcement"


@_named(ON_COMMIT)
def an_update_brings_news(world: Simulation, commit: Commit) -> Iterator[str]:
    """What is told of a message differs from what was told before; to be delivered again is no event.

    An audit tells again what the store has lost.
    """
    for stream, event in _events_in(commit):
        if event["type"].startswith("email."):
            told, id_ = world.record.told[stream], event["data"]["provider_message_id"]
            if event["type"] == "email.updated" and event["data"] == told.get(id_) and event["origin"] != "repair":
                yield f"{event['sequence']} of {stream} says again what {id_} is"
            told[id_] = event["data"]


@_named(ON_COMMIT)
def a_message_is_deleted_once_and_at_the_provider(world: Simulation, commit: Commit) -> Iterator[str]:
    """There is one ``email.deleted`` per message at most, and by then the provider has deleted it.

    There may be another once an ``email.updated`` has brought the message back.
    """
    for stream, event in _events_in(commit):
        if event["type"] == "email.updated":
            world.record.deleted[stream].discard(event["data"]["provider_message_id"])
        if event["type"] == "email.deleted":
            id_, mailbox = event["data"]["provider_message_id"], world.record.mailbox(stream)
            if id_ in world.record.deleted[stream]:
                yield f"{id_} of {stream} is deleted again by {event['sequence']}"
            if mailbox is not None and _is_alive(world, mailbox, id_):
                yield f"{id_} of {stream} is told of as deleted, and is in the mailbox"
            world.record.deleted[stream].add(id_)


@_named(ON_COMMIT)
def cursors_never_regress(world: Simulation, commit: Commit) -> Iterator[str]:
    """A mailbox's cursor only grows; a resync's anchor is where the provider stands, so it grows there too.

    That can be seen of cursors that are numbers. What a cursor that is a link has to be is the next sentence's.
    """
    for change, before, after in _moved(commit, "cursor"):
        if change.mailbox.endswith(":MICROSOFT"):
            continue
        if after is None or (before is not None and int(after) < int(before)):
            yield f"{change.mailbox}: from {before} to {after}"


@_named(ON_COMMIT)
def a_commit_moves_the_cursor_that_was_fetched(world: Simulation, commit: Commit) -> Iterator[str]:
    """Whoever moves a cursor has asked the provider, in the same call, after the cursor that he moves.

    Where cursors are links, it is moved to one that the provider has answered, or given up for none: then all is read anew.
    """
    crossings: Sequence[Crossing] = commit.call.notes.get("asked", ()) if commit.call else ()
    for change, before, after in _moved(commit, "cursor"):
        whole = [one for one in crossings if not one.asked.folder]
        if change.mailbox.endswith(":MICROSOFT") and after == "":
            continue
        answered = change.mailbox.endswith(":GOOGLE") or any(after in one.links for one in whole)
        if before is not None and not (answered and any(one.asked.cursor in (before, "") for one in whole)):
            yield f"{change.mailbox}: moved from {_end(before)} to {_end(after)}, but asked {_asked(crossings)}"
    for change in commit.of("cursors"):
        before, after = (data["link"] if data else None for data in (change.before, change.after))
        if after is not None and after != before:
            fetched = [
                one for one in crossings if (one.asked.folder, one.asked.cursor) == (_folder(change), before or "")
            ]
            if not any(after in one.links for one in fetched):
                yield f"{change.ref}: moved from {_end(before)} to {_end(after)}, but asked {_asked(crossings)}"


@_named(ON_COMMIT)
def published_never_exceeds_what_was_sent(world: Simulation, commit: Commit) -> Iterator[str]:
    """The mark says no more than the bus has, of events and of doorbells for our consumers, and never goes back."""
    changes = [(change.mailbox, change) for change in commit.of("mailbox")]
    changes += [(app_stream(change.ref.split("/")[1]), change) for change in commit.of("streams")]
    for stream, change in changes:
        if change.after is None:
            continue
        mark, before = change.after["published"], change.before["published"] if change.before else 0
        sent = min(world.record.sent[stream], world.record.belled[stream])
        if mark > sent or mark < before:
            yield f"{stream}: the mark goes from {before} to {mark}, the bus has {sent}"


@_named(ON_COMMIT)
def watermarks_advance_by_exactly_what_was_applied(world: Simulation, commit: Commit) -> Iterator[str]:
    """A watermark, or a rebuild's, moves over one segment that continues it, with the effects of just that segment."""
    for change in commit.of("watermarks"):
        after = change.after
        if after is None or after.get("erased"):
            continue
        stream, applied = after["stream"], Counter[str]()
        for was, now, generation in _steps(change.before, after):
            if now == was:
                continue
            segment = _segment(world, stream, was + 1)
            if segment is None or segment["last"] != now:
                yield f"{change.ref} goes from {was} to {now}; the log has {segment and (segment['first'], segment['last'])}"
                continue
            received = sum(event["type"] == "email.received" for event in segment["events"])
            applied[f"{stream}#{generation}"] += received
        for effect in commit.of("effects"):
            if effect.after is not None:
                applied[effect.after["scope"]] -= effect.after["mails"] - (
                    effect.before["mails"] if effect.before else 0
                )
        for scope, difference in applied.items():
            if difference:
                yield f"{change.ref}: the effects in {scope} miss {difference} received mails"


@_named(ON_COMMIT)
def nothing_is_written_after_disconnect_or_erasure(world: Simulation, commit: Commit) -> Iterator[str]:
    """A mailbox that is disconnected or being erased gets no message, gap, event or cursor; an erased one nothing at all.

    What remains to be written of a disconnected one is the mark of what was published, its deadlines, and that its
    channel is closed. A commit that connects it again, or that tells of the disconnecting, is none of those.
    """
    heads = {change.mailbox: change for change in commit.of("mailbox")}
    for change in commit.changes:
        mailbox = change.mailbox or _stream_of(change)
        if mailbox in world.record.erased and change.after is not None:
            yield f"{change.ref} is written after the erasure of {mailbox}"
        if not change.mailbox or change.part == "mailbox" or change.after is None:
            continue
        head = heads.get(mailbox)
        before = head.before if head else world.record.mailbox(mailbox)
        raised = head is not None and head.after is not None and before and head.after["epoch"] > before["epoch"]
        if before and (before["status"] == "disconnected" or before["erasing"]) and not raised:
            yield f"{change.ref} is written although {mailbox} is {'erasing' if before['erasing'] else 'disconnected'}"
    for mailbox, head in heads.items():
        if head.after is None:
            world.record.erased.add(mailbox)
        elif head.before and head.before["status"] == "disconnected" and head.after["epoch"] == head.before["epoch"]:
            for name in ("cursor", "anchor", "messages", "backfill", "resync", "connected", "verified"):
                if head.before.get(name) != head.after.get(name):
                    yield f"{mailbox} is disconnected, yet its {name} changes"
            if head.after.get("channel") is not None and head.after["channel"] != head.before.get("channel"):
                yield f"{mailbox} is disconnected, yet it gets a channel"


@_named(ON_COMMIT)
def every_connection_has_an_epoch_of_its_own(world: Simulation, commit: Commit) -> Iterator[str]:
    """Epochs only grow, and connecting, disconnecting and erasing each begin a new one."""
    for change in commit.of("mailbox"):
        before, after = change.before, change.after
        if before is None or after is None:
            continue
        turned = [after["status"] == status != before["status"] for status in ("connecting", "disconnected")]
        begun = (turned[0] and before["status"] == "disconnected") or turned[1] or after["erasing"] > before["erasing"]
        if after["epoch"] < before["epoch"] or (begun and after["epoch"] == before["epoch"]):
            yield f"{change.mailbox}: {before['status']} {before['epoch']} becomes {after['status']} {after['epoch']}"


@_named(ON_COMMIT)
def a_tombstone_has_a_reason(world: Simulation, commit: Commit) -> Iterator[str]:
    """A message becomes a tombstone only if the provider has deleted it: that is behind each record and each 404.

    The simulated provider also answers 404 for mail that has just arrived; no client may believe that.
    """
    for change in commit.of("messages"):
        before, after = change.before, change.after
        if after is None or after["state"] != TOMBSTONE or (before and before["state"] == TOMBSTONE):
            continue
        mailbox = world.record.mailbox(change.mailbox)
        if mailbox is not None and _is_alive(world, mailbox, after["id"]):
            yield f"{after['id']} of {change.mailbox} is in the mailbox"


@_named(ON_COMMIT)
def a_message_is_written_only_to_bring_news(world: Simulation, commit: Commit) -> Iterator[str]:
    """No message goes back to an older version, and none is written as it was: one write per change of a mail.

    Versions of Outlook's have no order; there it is only asked that something has changed.
    """
    for change in commit.of("messages"):
        before, after = change.before, change.after
        if before is None or after is None:
            continue
        if before == after:
            yield f"{after['id']} of {change.mailbox} is written as it was"
        elif before["version"].isdecimal() and newer(before["version"], after["version"]):
            yield f"{after['id']} of {change.mailbox} goes from version {before['version']} to {after['version']}"


@_named(ON_REQUEST)
def no_folder_is_asked_twice_at_once(world: Simulation, crossing: Crossing) -> Iterator[str]:
    """Of each folder there is one request for changes at a time: two of them would use up each other's cursors.

    Excused are steps of chains of which the queue has delivered a task twice, for the copy may be left behind, two people
    who follow one account: each has cursors of his own, and a step from before a mailbox was connected anew, whose request
    cannot be called back.
    """
    asked = crossing.asked
    if asked.cursor is None or not asked.address:
        return
    for other in _others_in_flight(world, crossing):
        chains = (_chain(crossing.task), _chain(other.task))
        copies = None not in chains and bool(world.record.doubled.intersection(chains))
        same = other.asked.cursor is not None and other.asked.folder == asked.folder
        if same and not copies and _connection(world, other.task) == _connection(world, crossing.task):
            yield f"{asked.name} of {asked.address}, in {_step(crossing.task)}, while {_step(other.task)} asks it"


@_named(ON_REQUEST)
def a_mailbox_is_asked_little_at_once(world: Simulation, crossing: Crossing) -> Iterator[str]:
    """An instance makes at most four requests at a time for one Outlook mailbox; of others it does not know."""
    others = _others_in_flight(world, crossing) if crossing.asked.address else []
    # While a mailbox is being connected, nobody knows yet whose it is.
    others = [other for other in others if other.life is crossing.life and not _connects(other)]
    if len(others) >= AT_ONCE and not _connects(crossing):
        yield f"{crossing.asked.address}: {crossing.asked.name} beside {[other.asked.name for other in others]}"


@_named(ON_REQUEST)
def nobody_asks_before_the_time_he_was_told(world: Simulation, crossing: Crossing) -> Iterator[str]:
    """An instance that was told to wait with a mailbox makes no request for it before that time has passed.

    While a mailbox is being connected, nobody knows yet that it is another's that he was told to wait with.
    """
    if _connects(crossing):
        return
    until = world.record.waits.get((crossing.life.name, crossing.asked.address), 0.0)
    if crossing.asked.address and crossing.since < until - 0.001:
        yield f"{crossing.asked.name} of {crossing.asked.address} by {crossing.life.name}, {until - crossing.since:.1f} s early"


@_named(ON_REQUEST)
def an_account_has_few_channels(world: Simulation, crossing: Crossing) -> Iterator[str]:
    """An account never has more than two channels of ours: the one in place, and the one that replaces it."""
    for provider, host in world.hosts.items():
        counts = Counter(address for address, _ in host.ringing(world.scheduler.now))
        for address, count in counts.items():
            if count > CHANNELS:
                yield f"{count} channels for {address} at {provider}"


@_named(ON_PUBLISH)
def first_deliveries_are_in_sequence_order(world: Simulation, published: Published) -> Iterator[str]:
    """On the bus no event of a stream comes before all earlier ones have; repeats are free. None is there uncommitted."""
    record, stream = world.record, published.key
    if published.topic == "segments":
        for message in published.messages:
            bell = orjson.loads(message.data)
            record.belled[bell["stream"]] = max(record.belled[bell["stream"]], bell["last"])
    elif published.topic == "events":
        for message in published.messages:
            number, id_ = int(message.attributes["ce-sequence"]), message.attributes["ce-id"]
            if number > record.sent[stream] + 1:
                yield f"{stream}: {number} is published when the bus has {record.sent[stream]}"
            if record.event_ids.get(id_, {}).get(stream) != number:
                yield f"{stream}: {number} is published and not in the log under this id"
            record.sent[stream] = max(record.sent[stream], number)


@_named(ON_ENQUEUE)
def a_chain_never_forks(world: Simulation, task: Enqueue) -> Iterator[str]:
    """Of one page of one chain there is one task: at most one chain per mailbox and kind is alive.

    A rescue enqueues the page once more, under another name; so there may be one more for each rescue. An audit that did
    not begin, because whoever was to begin it has died, is begun again: once for each time that a poll finds it due.
    """
    body = task.body
    if body.get("page") is None:
        return
    mailbox = world.record.mailbox(body["mailbox"])
    rescues = mailbox["rescue"] if mailbox else 0
    key: tuple[Any, ...] = (body["mailbox"], body["kind"], body["epoch"], body["page"], body["waits"])
    if body["kind"] == "audit" and task.name is not None and task.name.startswith("begin|"):
        key += (task.name.rpartition("|")[2],)
    made = world.record.chains[key]
    made.append(rescues)
    if len(made) > 1 + rescues:
        yield f"{len(made)} tasks for {key} after {rescues} rescues"


@_named(ON_ANSWER)
def every_doorbell_has_a_look_that_begins_after_it(world: Simulation, answered: Answered) -> Iterator[str]:
    """When a push is acknowledged, a look at each of its mailboxes has begun since it came, or is waiting to begin.

    A push that names a message asks for a look at that or at everything. Its mailboxes are those that follow its address
    all the while; who comes to follow it meanwhile looks all the same.
    """
    if answered.function not in ("gmail_push", "graph_push") or answered.status >= 300:
        return
    still = world.record.rung_by(answered.body)
    for mailbox, message in (rung for rung in answered.call.notes["rang"] if rung in still):
        looks = (*world.record.looks[mailbox], *world.record.hinted[mailbox, message])
        if not any(at >= answered.began for at in looks) and not _waiting(world, mailbox, 0.0, message):
            yield f"{mailbox}: the push of {answered.began - world._start:.3f} is acknowledged and nobody looks"


@_named(ON_ANSWER)
def every_rung_look_has_another_after_the_settle_delay(world: Simulation, answered: Answered) -> Iterator[str]:
    """When a look that a doorbell asked for is acknowledged, another follows at least 3 s after it began.

    Only a look that reached the provider counts, of a mailbox that is still followed. A look that was put off is rung
    again, and one under way that was rung too will have its own. An instance whose clock is wrong names a wrong time, so
    of those it is not asked.
    """
    body = answered.body
    if (
        answered.function != "sync"
        or not body.get("rung")
        or body["mailbox"].endswith(":MICROSOFT")
        or answered.status >= 300
        or abs(answered.skew) > 0.001
    ):
        return
    mailbox = world.record.mailbox(body["mailbox"])
    if (
        mailbox is None
        or "asked" not in answered.call.notes
        or mailbox["status"] not in ("live", "backfilling", "resyncing")
    ):
        return
    due = answered.began + SETTLE_MIN - 0.001
    looked = any(at >= due for at in world.record.looks[body["mailbox"]])
    if not looked and not _waiting(world, body["mailbox"], due) and not _others_are_rung(world, body["mailbox"]):
        yield f"{body['mailbox']}: nobody looks after {due - world._start:.3f}"


@_named(AT_REST)
def the_record_is_the_store(world: Simulation) -> Iterator[str]:
    """What was noted of commits is what the store has; otherwise this checker would judge something else."""
    with world.ports.store._database.read() as connection:  # type: ignore[attr-defined]
        rows = connection.execute("SELECT parent, grp, key, data FROM doc").fetchall()
    stored = {"/".join(filter(None, (parent, group, key))): orjson.loads(data) for parent, group, key, data in rows}
    for ref in stored.keys() ^ world.record.docs.keys():
        yield f"{ref} is in one only"
    for ref in stored.keys() & world.record.docs.keys():
        if stored[ref] != world.record.docs[ref]:
            yield f"{ref} differs"


@_named(AT_REST)
def the_store_equals_the_truth(world: Simulation) -> Iterator[str]:
    """Of each mailbox that is followed, the messages are those that the provider has, field by field."""
    for mailbox, box in world.followed().items():
        truth = {mail["id"]: expected_message(mail) for mail in world.host(box).simulator.truth(box.address)["mails"]}
        documents = world.record.of(mailbox, "messages")
        yield from differences(mailbox, truth, documents)
        state = world.record.mailbox(mailbox)
        if state is not None and state["messages"] != len(truth):
            yield f"{mailbox} counts {state['messages']} messages of {len(truth)}"


@_named(AT_REST)
def every_mail_is_announced(world: Simulation) -> Iterator[str]:
    """Each message that is neither draft nor chat, spam nor trash has been told of."""
    for mailbox in world.followed():
        for data in world.record.of(mailbox, "messages"):
            if data["state"] == PRESENT and not data["announced"] and NOT_ANNOUNCED.isdisjoint(data["labels"]):
                yield f"{data['id']} of {mailbox} is never told of"


@_named(AT_REST)
def every_folder_is_followed(world: Simulation) -> Iterator[str]:
    """Of an Outlook mailbox each folder has its cursor, and no other."""
    for mailbox, box in world.followed().items():
        if box.provider == "microsoft":
            real = {folder["id"]: folder["name"] for folder in world.host(box).simulator.folders(box.address)}
            found = {data["id"]: data["name"] for data in world.record.of(mailbox, "cursors")}
            if real != found:
                yield f"{mailbox}: {real.items() - found.items()} missing, {found.items() - real.items()} too many"


@_named(AT_REST)
def no_placeholder_is_left(world: Simulation) -> Iterator[str]:
    """Once a mailbox is at rest, every message that was heard of has been read or is gone."""
    for mailbox in world.followed():
        for data in world.record.of(mailbox, "messages"):
            if data["state"] == PLACEHOLDER:
                yield f"{data['id']} of {mailbox}"


@_named(AT_REST)
def folding_the_stream_from_1_equals_the_store(world: Simulation) -> Iterator[str]:
    """Whoever follows a stream from its first event knows what the store has of each announced message."""
    for mailbox in world.record.mailboxes():
        segments = sorted(world.record.of(mailbox, "log"), key=lambda data: data["first"])
        events = [event for segment in segments for event in segment["events"]]
        numbers = [event["sequence"] for event in events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{mailbox}: the log has {numbers}"
        known, wrong = fold_events((event["type"], event["data"]) for event in events)
        yield from (f"{mailbox}: {text}" for text in wrong)
        yield from (f"{mailbox}: {text}" for text in unexplained(mailbox, known, world.record.of(mailbox, "messages")))


@_named(AT_REST)
def the_consumer_has_counted_once(world: Simulation) -> Iterator[str]:
    """The effects in force are the counts of what was received, no more and no less."""
    for mailbox in world.record.mailboxes():
        mark = next((data for data in world.record.of("", "watermarks") if data["stream"] == mailbox), None)
        scope = f"{mailbox}#{mark['generation'] if mark else 1}"
        shown = Counter[tuple[str, str]]()
        for data in world.record.of("", "effects"):
            if data["scope"] == scope:
                shown[data["day"], data["sender"]] += data["mails"]
        segments = world.record.of(mailbox, "log")
        due = received((event["type"], event["data"]) for segment in segments for event in segment["events"])
        if shown != due:
            yield f"{mailbox}: {dict(shown - due)} too many, {dict(due - shown)} missing"


@_named(AT_REST)
def each_post_is_in_the_log(world: Simulation) -> Iterator[str]:
    """An event that a user posted is there at least once, and once where the client did not have to try again."""
    for person in world.people.values():
        ref = f"users/{person.uid}/streams/app/log/"
        found = Counter(
            event["data"]["number"]
            for name, segment in world.record.docs.items()
            if name.startswith(ref)
            for event in segment["events"]
        )
        for number, tries in person.posted.items():
            if not 1 <= found[number] <= tries:
                yield f"{person.uid}: {number} was posted {tries} times and is there {found[number]} times"


@_named(AT_REST)
def what_is_not_followed_has_no_channel(world: Simulation) -> Iterator[str]:
    """The provider rings for an account only while somebody follows it."""
    followed = {(box.provider, box.address) for box in world.followed().values()}
    for provider, host in world.hosts.items():
        for address, id_ in host.ringing(world.scheduler.now):
            if (provider, address) not in followed:
                yield f"{address} rings{id_ and f' by {id_}'}"


@_named(AT_REST)
def of_what_was_erased_nothing_is_left(world: Simulation) -> Iterator[str]:
    """Of an erased mailbox there is no document, no watermark, no effect, no intent and no way for a push."""
    for mailbox in world.record.erased:
        for ref, data in world.record.docs.items():
            if (
                f"/{mailbox}" in ref
                or str(data.get("scope", "")).startswith(f"{mailbox}#")
                or data.get("stream") == mailbox
            ):
                yield f"{ref} of {mailbox}"
            elif mailbox in data.get("mailboxes", ()):
                yield f"{ref} leads to {mailbox}"


@_named(AT_REST)
def operations_are_within_the_budget(world: Simulation) -> Iterator[str]:
    """Per mail and change there are so many port calls; with faults up to ``ALLOWANCE``, since whatever fails is repeated."""
    work = sum(box.mails for box in world.plan.boxes) + len(world.plan.actions)
    faults = world.dice.fired.total() + faults_of(list(world.hosts.values())).total()
    budget = {**BUDGET, **(OUTLOOK_BUDGET if "microsoft" in world.hosts else {})}
    for port, share in budget.items():
        most = (
            share * work
            if world.plan.faultless
            else share * work * ALLOWANCE["factor"] + ALLOWANCE["per_fault"] * faults
        )
        if world.record.totals[port] > most:
            yield f"{world.record.totals[port]} times {port} for {work} mails and changes and {faults} faults"


@_named(AT_REST)
def nothing_is_stuck(world: Simulation) -> Iterator[str]:
    """Everything has come to rest within its time; no deadline has passed, no task or push was given up."""
    now = world.scheduler.now
    for mailbox, data in world.record.mailboxes().items():
        late = {
            name: value for name, value in data.items() if name.startswith("due_") and value and value < now - OVERDUE
        }
        if late and mailbox in world.followed():
            yield f"{mailbox} is late: {late}"
    for due, _, body in world.waiting():
        if due < now - OVERDUE:
            yield f"a task has been due for {now - due:.0f} s: {body}"
    tasks, bus = world.ports.tasks, world.ports.bus
    for dead in (*tasks.dead_letters(), *bus.dead_letters("gmail"), *bus.dead_letters("senders")):  # type: ignore[attr-defined]
        yield f"given up: {dead}"


@_named(AT_REST)
def every_mailbox_is_polled(world: Simulation) -> Iterator[str]:
    """Without any push there is a look once a period and two ticks.

    Not asked where clocks differ: which polls fall due before the next tick is then a matter of who ticks, so a period may
    be missed; that nothing is missed for ever is asked of all.
    """
    if any(world.plan.skews):
        return
    period = world.plan.poll_seconds + 2 * world.plan.tick_seconds + POLL_SLACK
    for mailbox in world.followed():
        first = min(at for at in world.record.looked[mailbox] if at >= (world.quiet_since or 0.0) + APPEARED)
        if first > (world.quiet_since or 0.0) + period:
            yield f"{mailbox}: the first look came after {first - (world.quiet_since or 0.0):.0f} s"


def left_to_do(world: Simulation) -> str:
    """What keeps the run from being at rest; '' when it is."""
    record = world.record
    for person in world.people.values():
        if not person.idle:
            return f"{person.uid} is not done"
        for box in person.boxes:
            if person.wanted.get(box.number) == "erased" and person.mailbox_of(box) is not None:
                return f"{box.address} is not erased yet"
    for mailbox, data in record.mailboxes().items():
        if left := _unfinished(world, mailbox, data):
            return f"{mailbox} {left}"
    marks = {data["stream"]: data for data in record.of("", "watermarks")}
    heads = {name: data["head"] for name, data in record.mailboxes().items()}
    heads |= {app_stream(data["uid"]): data["head"] for data in record.of("", "streams")}
    for stream, head in heads.items():
        mark = marks.get(stream, {"sequence": 0, "building": None, "parked": None})
        if mark["sequence"] < head or mark.get("building"):
            return f"the consumer of {stream} is at {mark} of {head}"
    return ""


def _unfinished(world: Simulation, mailbox: str, data: Data) -> str:
    if data["published"] < data["head"]:
        return "has unpublished events"
    if mailbox not in world.followed():
        return "" if data["channel"] is None else "still has its channel"
    if not any(at >= (world.quiet_since or 0.0) + APPEARED for at in world.record.looked[mailbox]):
        return "has not been looked at since the faults ended"
    names = ("resync", "due_gaps", "due_chain", "due_outbox", "due_audit", "candidate", "more")
    pending = {
        name: data[name] for name in names if data[name] and not (name == "more" and _walks_once_more(world, data))
    }
    if data["status"] != "live" or not data["backfill"]["done"] or pending:
        return f"is {data['status']}, {data['troubles']}, backfill {data['backfill']}, {pending}"
    places = world.record.of(mailbox, "cursors")
    if folders := [data for data in places if data["phase"] != FOLLOWING or data["sweep"] or data["failures"]]:
        return f"has folders to read: {folders}"
    if any(_is_walk(body, mailbox) for _, _, body in world.waiting()):
        return "is to be walked"
    if data["channel"] and data["due_channel"] and data["due_channel"] <= world.scheduler.now:
        return "has a renewal due"  # a step that died comes back once the queue has given up waiting for it
    if audit_is_due(read_state(Doc("", data, "")), Schedule.of(world.settings), world.scheduler.now):
        return "is to be audited"
    return ""


def _walks_once_more(world: Simulation, data: Data) -> bool:
    """Whether the folders are walked by the schedule, and were walked to their end since the faults ended.

    A mailbox that is polled twice a minute is walked half the time, and of several one always is.
    """
    walked = (data["caught_up_at"] or 0.0) >= (world.quiet_since or 0.0) + APPEARED
    return bool(walked and data["walk"] and not data["walk"]["again"])


def _is_walk(body: Mapping[str, Any], mailbox: str) -> bool:
    """Whether a task begins a walk that somebody has asked for; one by the schedule says nothing of what is left to do."""
    return bool(body.get("mailbox") == mailbox and body["kind"] == "live" and body["rung"] and not body["hints"])


def fold_events(events: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """What a reader of a stream knows (the last data of each announced message that is not deleted), and what is wrong."""
    known: dict[str, Mapping[str, Any]] = {}
    announced: set[str] = set()
    wrong = []
    for type_, data in events:
        if not type_.startswith("email."):
            continue
        id_ = data["provider_message_id"]
        if type_ in ("email.received", "email.sent"):
            if id_ in announced:
                wrong.append(f"{id_} is announced twice")
            announced.add(id_)
        elif id_ not in announced:
            wrong.append(f"{type_} of {id_} comes before its announcement")
        if type_ == "email.deleted":
            known.pop(id_, None)
        else:
            known[id_] = data
    return known, wrong


def unexplained(mailbox: str, known: Mapping[str, Mapping[str, Any]], documents: Iterable[Data]) -> Iterator[str]:
    """Where what the events say and what the store has of announced messages differ."""
    stored = {data["id"]: data for data in documents if data["state"] == PRESENT and data["announced"]}
    for id_ in known.keys() ^ stored.keys():
        yield f"{id_} is {'told of and not stored' if id_ in known else 'stored and not told of'}"
    for id_ in known.keys() & stored.keys():
        shown = public(mailbox, known[id_]["provider"], stored[id_])
        if unlike := [name for name in FIELDS.values() if shown[name] != known[id_][name]]:
            yield f"{id_}: {unlike} in the last event and in the store differ"


def differences(mailbox: str, truth: Mapping[str, Mapping[str, Any]], documents: Iterable[Data]) -> Iterator[str]:
    """Where the present documents of a mailbox and the truth (fields as the API calls them) differ."""
    stored = {data["id"]: data for data in documents if data["state"] == PRESENT}
    for id_ in sorted(truth.keys() - stored.keys()):
        yield f"{id_} of {mailbox} is lost"
    for id_ in sorted(stored.keys() - truth.keys()):
        yield f"{id_} of {mailbox} is not in the mailbox any more"
    for id_ in sorted(truth.keys() & stored.keys()):
        for field, name in FIELDS.items():
            if name in truth[id_] and not agrees(name, truth[id_][name], stored[id_][field]):
                yield f"{id_} of {mailbox}: {name} is {stored[id_][field]!r:.100}, it should be {truth[id_][name]!r:.100}"


def received(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Counter[tuple[str, str]]:
    """How many mails each sender sent on each day, by the events (type, data)."""
    return Counter((data["msg_date"][:10], data["sender"]) for type_, data in events if type_ == "email.received")


def _folder(change: Change) -> str:
    """The provider's id of the folder of a cursor."""
    return str((change.after or change.before or {})["id"])


def _step(task: Any) -> str:
    return f"{task['kind']} {task['page']}" if task and "kind" in task else "another call"


def _chain(task: Any) -> tuple[str, str] | None:
    """The chain that a step is one of; None for what is none."""
    return (task["mailbox"], task["kind"]) if task and task.get("page") is not None else None


def _connection(world: Simulation, task: Any) -> tuple[str, int]:
    """The mailbox that a step is of, and the connection of it; without an epoch a step is of the current one."""
    mailbox = str(task.get("mailbox", "")) if task else ""
    current = world.record.mailbox(mailbox)
    epoch = task.get("epoch") if task else None
    return mailbox, epoch if epoch is not None else current["epoch"] if current else 0


def _asked(crossings: Sequence[Crossing]) -> str:
    return ", ".join(f"{one.asked.folder[-8:]} after {_end(one.asked.cursor)}" for one in crossings) or "nothing"


def _end(cursor: Any) -> str:
    """A cursor in short: what tells links apart is at their end."""
    return str(cursor)[-24:]


def _is_alive(world: Simulation, mailbox: Data, message_id: str) -> bool:
    box = world.box_of(mailbox)
    return world.host(box).is_alive(box.address, message_id)


def _events_in(commit: Commit) -> Iterator[tuple[str, Data]]:
    for change in (*commit.of("log"), *commit.of("applog")):
        if change.after is not None and change.before is None:
            for event in change.after["events"]:
                yield change.after["stream"], event


def _moved(commit: Commit, name: str) -> Iterator[tuple[Any, Any, Any]]:
    for change in commit.of("mailbox"):
        if change.before is not None and change.after is not None and change.before[name] != change.after[name]:
            yield change, change.before[name], change.after[name]


def _steps(before: Data | None, after: Data) -> Iterator[tuple[int, int, int]]:
    """The positions that a watermark moves: from, to, generation. A rebuild that takes over moves nothing."""
    old = before or {"sequence": 0, "generation": after["generation"], "building": None}
    if old["generation"] == after["generation"]:
        yield old["sequence"], after["sequence"], after["generation"]
    was, now = old.get("building"), after.get("building")
    if now is not None:
        same = was is not None and was["generation"] == now["generation"]
        yield was["sequence"] if same else 0, now["sequence"], now["generation"]
    elif was is not None and old["sequence"] != after["sequence"]:
        yield was["sequence"], after["sequence"], was["generation"]


def _segment(world: Simulation, stream: str, first: int) -> Data | None:
    uid = owner(stream)
    head = f"users/{uid}/streams/app" if stream == app_stream(uid) else f"users/{uid}/mailboxes/{stream}"
    return world.record.docs.get(f"{head}/log/{first:012d}")


def _stream_of(change: Any) -> str:
    """The stream that a consumer's document is about."""
    data = change.after or change.before or {}
    return str(data.get("stream") or str(data.get("scope", "")).partition("#")[0])


def _connects(crossing: Crossing) -> bool:
    return bool(crossing.task) and crossing.task.get("kind") == "connect"


def _others_in_flight(world: Simulation, crossing: Crossing) -> list[Crossing]:
    """Other requests for the same account that are on their way; those of an instance that is gone have broken off."""
    return [
        other
        for other in world.record.crossings
        if other is not crossing and other.asked.address == crossing.asked.address and not other.life.dead
    ]


def _others_are_rung(world: Simulation, mailbox: str) -> bool:
    """Whether more rung looks have begun than the one that is just being answered, and is still in the queue."""
    begun = [body for _, attempts, body in world.waiting() if attempts and body.get("kind") == "live"]
    return sum(body["mailbox"] == mailbox and body["rung"] for body in begun) > 1


def _waiting(world: Simulation, mailbox: str, due: float, message: str = "") -> bool:
    """Whether a look that has not begun is to come, at a time or later; a rung one is followed by its own.

    One that is to look at some messages only counts where it is to look at this one.
    """
    queued = [(at, body) for at, attempts, body in world.waiting() if attempts == 0]
    return any(
        body["mailbox"] == mailbox
        and body["kind"] == "live"
        and (at >= due or body["rung"])
        and (not body.get("hints") or message in body["hints"])
        for at, body in (*queued, *world.deliveries.coming)
        if "kind" in body
    )
