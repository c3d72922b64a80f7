"""What users do: connect, disconnect, come back, erase, post. Each does one thing at a time and tries until it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shared import refs
from shared.errors import BrainstemError, NotFound
from tests.chaos.simulation.plan import Action, Box
from tests.chaos.simulation.scheduler import Call, Crash

if TYPE_CHECKING:
    from tests.chaos.simulation.instance import Life
    from tests.chaos.simulation.world import Simulation

Wish = Callable[["Life"], bool]
ATTEMPTS = 60
FOLLOWED, LEFT, ERASED = "followed", "left", "erased"


class Person:
    """One user."""

    def __init__(self, world: Simulation, number: int) -> None:
        self._world = world
        self.uid = f"user{number}"
        self.boxes = [box for box in world.plan.boxes if box.user == number]
        self.wanted: dict[int, str] = {}
        self.posted: dict[int, int] = {}
        self._wishes: deque[tuple[str, Wish]] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done."""
        return not self._wishes

    def connect(self, box: Box) -> None:
        """Connect a mailbox: with tokens of one's own, or, with several mailboxes, as a consent would."""
        self._wish(f"connect {box.address}", lambda life: self._connected(life, box))

    def act(self, action: Action) -> None:
        """Do what an action says."""
        box = next(box for box in self.boxes if box.number == action.box)
        match action.kind:
            case "disconnect":
                self._wish("disconnect", lambda life: self._disconnected(life, box.provider))
            case "reconnect":
                self._wish("reconnect", lambda life: self._reconnected(life, box.provider))
            case "erase":
                self._wish(f"erase {box.address}", lambda life: self._erased(life, box))
            case "post":
                self._wish("post", lambda life: self._posted(life, action.seed))
            case "rebuild":
                self._wish(f"rebuild {box.address}", lambda life: self._rebuilt(life, box))

    def look(self) -> None:
        """See how the mailboxes are: whoever is told that a grant no longer works connects again."""
        for box in self.boxes if self.idle else ():
            mailbox = self.mailbox_of(box)
            state = self._world.record.mailbox(mailbox) if mailbox is not None else None
            if self.wanted.get(box.number) == FOLLOWED and state is not None and state["status"] == "reauth_required":
                self.connect(box)

    def mailbox_of(self, box: Box) -> str | None:
        """The id of the mailbox that follows a box, if there is one."""
        for name, data in self._world.record.mailboxes().items():
            if data["uid"] == self.uid and self._world.box_of(data) is box:
                return name
        return None

    def _wish(self, label: str, wish: Wish) -> None:
        self._wishes.append((label, wish))
        if len(self._wishes) == 1:
            self._world.scheduler.start(self.uid, self._go_about)

    def _go_about(self, call: Call) -> None:
        world = self._world
        while self._wishes:
            label, wish = self._wishes[0]
            call.label = f"{self.uid} {label}"
            for _ in range(ATTEMPTS):
                try:
                    if wish(world.life()):
                        break
                except (Crash, BrainstemError):
                    pass  # a person sees an error page, and tries again
                world.scheduler.pause(world.durations.uniform(0.5, 8.0))
            else:
                world.complain("nothing_is_stuck", f"{call.label} has failed {ATTEMPTS} times")
            self._wishes.popleft()

    def _api(self, life: Life, method: str, path: str, body: Any = None) -> int:
        status, _ = self._world.ask(life, "api", method, path, body, self._world.bearer(self.uid))
        life.say("api", f"{method} {path} {status}")
        return status

    def _connected(self, life: Life, box: Box) -> bool:
        tokens = self._world.host(box).simulator.add_mailbox(box.address)
        names = ("access_token", "refresh_token", "expires_in")
        if [other.provider for other in self.boxes].count(box.provider) == 1:
            body = {"provider": box.provider, **{name: tokens[name] for name in names}}
            done = self._api(life, "POST", "/mail/connect", body) == 200
        else:
            done = self._api(life, "GET", "/me") == 200
            if done:
                grant_id = f"{box.provider}:subject-{box.number}"
                access, refresh, seconds = (tokens[name] for name in names)
                life.product._grants.put(self.uid, grant_id, box.provider, access, refresh, seconds)
                life.product.accounts.connect_account(self.uid, box.provider, grant_id, box.address)
        if done:
            self.wanted[box.number] = FOLLOWED
        return done

    def _disconnected(self, life: Life, provider: str) -> bool:
        done = self._api(life, "POST", "/mail/disconnect", {"provider": provider}) in (200, 404)
        if done:
            self._all(provider, LEFT)
        return done

    def _reconnected(self, life: Life, provider: str) -> bool:
        status = self._api(life, "POST", "/mail/connect", {"provider": provider})
        if status != 200:
            return status == 409
        self._all(provider, FOLLOWED)
        # A mailbox whose grant has ended meanwhile is not taken up with the others: it takes another consent.
        return all(self._connected(life, box) for box in self.boxes if box.provider == provider and self._is_left(box))

    def _is_left(self, box: Box) -> bool:
        mailbox = self.mailbox_of(box)
        state = self._world.record.mailbox(mailbox) if mailbox is not None else None
        return state is not None and state["status"] == "disconnected"

    def _erased(self, life: Life, box: Box) -> bool:
        mailbox = self.mailbox_of(box)
        if mailbox is None:
            return True
        with suppress(NotFound):  # an attempt before this one got through
            life.product.accounts.erase(self.uid, mailbox)
        self.wanted[box.number] = ERASED
        return True

    def _posted(self, life: Life, number: int) -> bool:
        self.posted[number] = self.posted.get(number, 0) + 1
        return self._api(life, "POST", "/events", {"type": "note.written", "data": {"number": number}}) == 201

    def _rebuilt(self, life: Life, box: Box) -> bool:
        mailbox = self.mailbox_of(box)
        if mailbox is None or refs.watermark("senders", mailbox) not in self._world.record.docs:
            return True
        status, _ = self._world.ask(life, "senders", "POST", "/rebuild", {"stream": mailbox})
        while status == 503:
            self._world.scheduler.pause(2.0)
            status, _ = self._world.ask(self._world.life(), "senders", "POST", "/build", {"stream": mailbox})
        return status < 300

    def _all(self, provider: str, state: str) -> None:
        for box in self.boxes:
            if box.provider == provider and self.wanted.get(box.number, ERASED) != ERASED:
                self.wanted[box.number] = state
