"""Read the metadata of messages, and tell a bad message from a bad moment.

A message that Gmail keeps refusing while it serves others becomes a ``Refused``, which the engine records as a gap: one
bad message must not end a mailbox (docs/gmail.md, 9). Where nothing is served at all it is not the messages' fault. A
dead grant is about the whole call and is raised; a limit is waited for if that does not take long. Where a call brings no
answer, its messages are asked for alone after all others: only if Gmail serves those is it this message that breaks it.

Where several wanted messages share a thread, the whole thread is read if that costs no more, and brings others along.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from shared.errors import ConfigurationError, NotFound, Paced, ProviderUnavailable, RateLimited, ReauthRequired
from shared.ports import Clock
from shared.providers.base import Access, Fetched, Missing, Refused, Upsert
from shared.providers.bounds import MAX_ID
from shared.providers.gmail.batch import MESSAGE, THREAD, BatchReader, Json, Read
from shared.providers.gmail.failures import Where, error_for
from shared.providers.gmail.normalise import normalise
from shared.providers.gmail.quota import Quota
from shared.providers.http.answers import MALFORMED
from shared.providers.http.failure import Failure

_TRIES = 2  # of one message, at once: refusals on a small share of calls are ordinary (docs/gmail.md, 9)
_ENOUGH = 10  # so many refusals with nothing served are Gmail's trouble; after so many server errors no more are asked
_LONGEST_WAIT = 10.0  # seconds in one fetch for what is over a limit; more is for the task queue
_MOST_WAITS = 8
_LARGEST_BATCH = 100
_BREAKS_IN_VAIN = 2  # so many calls without an answer while nothing is served may be one message's doing, no more
_BREAKS_UNTIL = 120.0  # seconds in one fetch after which one more of them is too much: a step has to end in time


class MessageReader:
    """Reads messages, many in one request, and normalises them."""

    def __init__(self, batches: BatchReader, headers: Sequence[str], quota: Quota, clock: Clock, size: int) -> None:
        """``size`` is how many calls go into one batch. Raises ``ConfigurationError``."""
        if not 1 <= size <= _LARGEST_BATCH:
            raise ConfigurationError(f"GMAIL_BATCH_SIZE must be from 1 to {_LARGEST_BATCH}.")
        self.batches = batches
        self.headers = tuple(headers)
        self.quota = quota
        self.clock = clock
        self.size = size

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        """Answer once per id, in the given order, then with what else came along; a repeated id is asked for once.

        ``threads`` names the thread of each id. Raises ``ProviderUnavailable`` if nothing was served and at least ten
        messages were refused or some calls brought no answer; ``RateLimited`` if a limit lasts; ``Paced`` if the meter lets
        not even one message through.
        """
        fetching = _Fetching(self, access, ids, self._worthwhile(ids, threads))
        fetching.run()
        answers = fetching.answers
        others = [upsert for id, upsert in fetching.others.items() if id not in answers]
        return (*[answers[id] for id in ids], *others)

    def _worthwhile(self, ids: Sequence[str], threads: Sequence[str]) -> dict[str, list[str]]:
        """Find the threads that cost no more than the wanted messages in them."""
        if len(threads) != len(ids):
            return {}
        members: dict[str, dict[str, None]] = {}
        for id, thread in zip(ids, threads, strict=True):
            if _askable(id) and _askable(thread):
                members.setdefault(thread, {})[id] = None
        least = max(self.quota.price(THREAD), 2 * self.quota.price(MESSAGE))
        return {
            thread: list(wanted)
            for thread, wanted in members.items()
            if len(wanted) > 1 and len(wanted) * self.quota.price(MESSAGE) >= least
        }


class _Fetching:
    """One ``fetch`` under way: what is still to be read, what came, and how patient it has been."""

    def __init__(
        self, reader: MessageReader, access: Access, ids: Sequence[str], threads: Mapping[str, list[str]]
    ) -> None:
        self.answers: dict[str, Fetched] = {}
        self.others: dict[str, Upsert] = {}
        self._reader = reader
        self._access = access
        self._threads = threads
        self._queue = deque(Read(THREAD, thread) for thread in threads)
        in_threads = {id for wanted in threads.values() for id in wanted}
        for id in dict.fromkeys(ids):
            if not _askable(id):
                self.answers[id] = Refused(id, "The id cannot be asked for.")
            elif id not in in_threads:
                self._queue.append(Read(MESSAGE, id))
        self._size = reader.size
        self._alone: set[Read] = set()
        self._tried: Counter[Read] = Counter()
        self._began = reader.clock.now()
        self._waited = 0.0
        self._waits = self._served = self._refused = self._outages = self._breaks = 0
        self._last = ""

    def run(self) -> None:
        """Read until nothing is left to read."""
        while self._queue:
            reads = self._next()
            try:
                results = self._send(reads)
            except Paced:  # nothing has gone out: perhaps fewer may
                if len(reads) == 1:
                    raise
                results, self._size = None, len(reads) // 2
            except ProviderUnavailable as broken:
                self._break(reads, broken)
                continue
            else:
                self._size = 1 if results is None else self._size
            if results is None:
                self._queue.extendleft(reversed(reads))
                continue
            self._settle(reads, results)
            if not self._served and self._outages >= _ENOUGH:
                break
        if not self._served and max(self._refused, self._outages) >= _ENOUGH:
            raise ProviderUnavailable(f"Gmail served none of the messages that it was asked for ({self._last}).")

    def _next(self) -> list[Read]:
        """Take what goes out together: what there is room for now, or where there is none what is worth a wait."""
        quota = self._reader.quota
        size = self._size if self._reader.batches.batches else 1
        room = self._access.meter.room()
        most = quota.at_once if room < quota.price(self._queue[0].method) else min(quota.at_once, room)
        reads: list[Read] = []
        price = 0.0
        while self._queue and len(reads) < size:
            price += quota.price(self._queue[0].method)
            if reads and (price > most or self._queue[0] in self._alone):
                break
            reads.append(self._queue.popleft())
            if reads[0] in self._alone:
                break
        return reads

    def _send(self, reads: list[Read]) -> list[Json | Failure] | None:
        batches = self._reader.batches
        return [batches.one(self._access, reads[0])] if len(reads) == 1 else batches.many(self._access, reads)

    def _break(self, reads: list[Read], broken: ProviderUnavailable) -> None:
        """Have what a call without an answer asked for read alone, behind all others. Raises it where nothing is served."""
        self._breaks += 1
        hopeless = self._breaks > _BREAKS_IN_VAIN or (len(reads) == 1 and not self._queue)
        if (not self._served and hopeless) or self._reader.clock.now() - self._began > _BREAKS_UNTIL:
            raise broken
        for read in reads:
            self._tried[read] += 1
            if self._tried[read] < _TRIES:
                again = [read]
            elif read.method == THREAD:
                again = [Read(MESSAGE, id) for id in self._threads[read.id]]
            else:
                self.answers[read.id] = Refused(read.id, "Gmail serves others, but breaks off over this message.")
                again = []
            self._alone.update(again)
            self._queue.extend(again)

    def _settle(self, reads: list[Read], results: list[Json | Failure]) -> None:
        again: list[Read] = []
        limited: list[tuple[Read, Failure]] = []
        refusals = 0
        for read, result in zip(reads, results, strict=True):
            failure = result if isinstance(result, Failure) else self._take(read, result)
            if failure is None:
                continue
            error = error_for(failure, Where.MESSAGE)
            if isinstance(error, RateLimited):
                limited.append((read, failure))
                continue
            self._tried[read] += 1
            self._last = failure.describe()
            if isinstance(error, ReauthRequired):
                refusals += 1
                if refusals == len(reads) or self._tried[read] >= _TRIES:
                    raise error
                again.append(read)
            elif read.method == THREAD:
                self._queue.extend(Read(MESSAGE, id) for id in self._threads[read.id])
            elif isinstance(error, NotFound):
                self.answers[read.id] = Missing(read.id)
                self._served += 1
            elif self._tried[read] < _TRIES:
                again.append(read)
            else:
                self.answers[read.id] = Refused(read.id, f"Gmail refused the message ({failure.describe()}).")
                self._refused += 1
                self._outages += failure.outage
        self._queue.extendleft(reversed([*again, *[read for read, _ in limited]]))
        if limited:
            self._wait([failure for _, failure in limited], in_vain=len(limited) == len(reads))

    def _take(self, read: Read, result: Json) -> Failure | None:
        """Keep what was served; answer a failure for what is about something else."""
        if read.method == THREAD:
            return self._take_thread(read, result)
        if result.get("id") != read.id:
            return Failure(200, (MALFORMED,))
        self.answers[read.id] = normalise(result, self._reader.headers, read.id)
        self._served += 1
        return None

    def _take_thread(self, read: Read, result: Json) -> Failure | None:
        messages = result.get("messages")
        if not isinstance(messages, list):
            return Failure(200, (MALFORMED,))
        found: dict[str, Json] = {}
        for message in messages:
            if isinstance(message, dict) and isinstance(id := message.get("id"), str):
                found.setdefault(id, message)
        headers = self._reader.headers
        for id in self._threads[read.id]:
            answer = normalise(found.pop(id, None), headers, id)
            if isinstance(answer, Upsert):
                self.answers[id] = answer
                self._served += 1
            else:  # it says more when asked for on its own
                self._queue.append(Read(MESSAGE, id))
        for message in found.values():
            other = normalise(message, headers)
            if isinstance(other, Upsert):
                self.others.setdefault(other.id, other)
        return None

    def _wait(self, failures: list[Failure], in_vain: bool) -> None:
        """Sleep before going on in smaller batches. Raises ``RateLimited`` where it would be too long.

        ``in_vain``: nothing got through. Where something did, a second is enough: the batch was too large for the moment,
        and a page that is given up for it would be begun again for ever.
        """
        longest = max(failures, key=lambda failure: failure.retry_after or 0.0)
        seconds = longest.retry_after or 2.0**self._waits
        if self._waits >= _MOST_WAITS or self._waited + seconds > _LONGEST_WAIT:
            if in_vain or longest.retry_after:
                raise error_for(longest, Where.MESSAGE)
            seconds = 1.0
        self._reader.clock.sleep(seconds)
        self._waits += 1
        self._waited += seconds
        self._size = max(self._size // 2, 1)  # so many at once may have been the trouble (docs/gmail.md, 17)


def _askable(id: str) -> bool:
    """Whether an id can stand in a URL: an empty one or ``..`` would ask for something else."""
    return bool(id.strip(".")) and len(id) <= MAX_ID
