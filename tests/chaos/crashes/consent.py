"""A person who connects as people do: through the pages of the consent flow, from the start again wherever that breaks off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import flask
import requests

from infra.local.browser import Browser, NoSuchControl
from infra.local.world import HOME
from tests.chaos.simulation.people import FOLLOWED, Person
from tests.chaos.simulation.plan import Box

if TYPE_CHECKING:
    from tests.chaos.simulation.instance import Life


TRIED_AGAIN_AFTER = 20.0
"""Seconds; a vault whose maker has died is free again after 60."""


class Consenting(Person):
    """One user at a browser; every page is answered by the instance that had the first."""

    def _connected(self, life: Life, box: Box) -> bool:
        world = self._world
        status, answer = world.ask(
            life, "api", "POST", "/mail/connect", {"provider": box.provider}, world.bearer(self.uid)
        )
        life.say("api", f"POST /mail/connect {status}")
        if status != 200:
            page = answer["error"]["details"].get("consent_url")
            if page is None or not self._allowed(life, page, box):
                world.scheduler.pause(TRIED_AGAIN_AFTER)
                return False
        self.wanted[box.number] = FOLLOWED
        return True

    def _allowed(self, life: Life, page: str, box: Box) -> bool:
        host, address = self._world.host(box), box.address
        browser = Browser({f"{host.origin}/": host.website, f"{HOME}/": lambda *request: _served(life, *request)})
        try:
            theirs = browser.press(browser.open(page), "Continue")
            end = browser.press(theirs, "Allow", account=address)
        except (requests.RequestException, NoSuchControl) as broken:
            life.say("browser", type(broken).__name__)
            return False
        life.say("browser", f"{end.status} at the end")
        return end.status == requests.codes.ok


def _served(life: Life, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The URL map of an instance: consent pages at ``oauth``, all else at ``api``."""
    life.survive()
    function = "oauth" if environ["PATH_INFO"].startswith("/oauth/") else "api"
    answer: Iterable[bytes] = getattr(life.product, function)(flask.Request(environ))(environ, start_response)
    return answer
