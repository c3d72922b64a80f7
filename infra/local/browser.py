"""A person at a browser, as far as forms go: opens pages, follows redirects, keeps cookies, ticks boxes, presses buttons."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from werkzeug.test import Client

TIMEOUT = (5.0, 30.0)
MAX_REDIRECTS = 10


class NoSuchControl(Exception):
    """The page has no such form, button or choice."""


@dataclass(slots=True)
class Form:
    """One form: where it goes, what it would send by itself, what can be chosen and pressed."""

    action: str
    method: str
    values: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """Where the browser is, and what it shows."""

    url: str
    status: int
    text: str
    forms: tuple[Form, ...]


class Browser:
    """One person's browser; every answer is followed to a page. Raises ``requests.RequestException``."""

    def __init__(self, hosts: Mapping[str, Callable[..., Iterable[bytes]]] | None = None) -> None:
        """``hosts`` are servers in this process, by the beginning of their URLs; all others are asked over the network."""
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.max_redirects = MAX_REDIRECTS
        for root, app in (hosts or {}).items():
            self._session.mount(root, _InProcess(app))

    def open(self, url: str) -> Page:
        """Go to a URL."""
        return _page(self._session.get(url, timeout=TIMEOUT))

    def press(self, page: Page, button: str, **chosen: str | list[str]) -> Page:
        """Press the button that says so, with what else is chosen in its form. Raises ``NoSuchControl``."""
        for form in page.forms:
            for name, value, label in form.buttons:
                if button.lower() in label.lower():
                    return self._send(page, form, (name, value), chosen)
        raise NoSuchControl(f"There is no button {button!r} at {page.url.partition('?')[0]}.")

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _send(self, page: Page, form: Form, pressed: tuple[str, str], chosen: Mapping[str, str | list[str]]) -> Page:
        values = {name: list(some) for name, some in form.values.items()}
        for name, value in chosen.items():
            wanted = [value] if isinstance(value, str) else value
            if not set(wanted) <= set(form.choices.get(name, ())):
                raise NoSuchControl(f"{name} cannot be chosen so.")
            values[name] = wanted
        if pressed[0]:
            values.setdefault(pressed[0], []).append(pressed[1])
        pairs = [(name, value) for name, some in values.items() for value in some]
        url = urljoin(page.url, form.action)
        if form.method == "post":
            return _page(self._session.post(url, data=pairs, timeout=TIMEOUT))
        return _page(self._session.get(url, params=pairs, timeout=TIMEOUT))


def _page(answer: requests.Response) -> Page:
    reader = _Forms()
    reader.feed(answer.text)
    return Page(answer.url, answer.status_code, answer.text, tuple(reader.forms))


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._button: tuple[str, str] | None = None
        self._label = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._open)
        elif self._open is None:
            return
        elif tag == "button":
            self._button, self._label = (given.get("name", ""), given.get("value", "")), ""
        elif tag == "input":
            self._input(self._open, given, {name for name, _ in attrs})

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._label += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "button" and self._button is not None and self._open is not None:
            self._open.buttons.append((*self._button, self._label.strip()))
            self._button = None

    def _input(self, form: Form, given: dict[str, str], flags: set[str]) -> None:
        kind, name, value = given.get("type", "text").lower(), given.get("name", ""), given.get("value", "")
        if kind == "submit":
            form.buttons.append((name, value, value))
        elif kind in ("checkbox", "radio"):
            form.choices.setdefault(name, []).append(value or "on")
            if "checked" in flags:
                form.values.setdefault(name, []).append(value or "on")
        elif name:
            form.choices.setdefault(name, []).append(value)
            form.values.setdefault(name, []).append(value)


class _InProcess(BaseAdapter):
    """Answers requests from a WSGI app of this process, cookies included."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        super().__init__()
        self._client = Client(app, use_cookies=False)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer one request."""
        answer = self._client.open(
            request.path_url,
            base_url="/".join(str(request.url).split("/")[:3]),
            method=request.method or "GET",
            headers=list(request.headers.items()),
            data=request.body or b"",
            buffered=True,
        )
        response = requests.Response()
        response.status_code = answer.status_code
        response.url = str(request.url)
        response.request = request
        response.headers.update(dict(answer.headers))
        response.raw = _Raw(answer.get_data(), answer.headers.items())
        response.encoding = "utf-8"
        extract_cookies_to_jar(response.cookies, request, response.raw)
        return response

    def close(self) -> None:
        """There is nothing to close."""


class _Raw(io.BytesIO):
    """A body, with its head where the cookie jar looks for it."""

    def __init__(self, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__(body)
        self.msg = HTTPMessage()
        for name, value in headers:
            self.msg[name] = value
        self._original_response = self
