"""``docs/events.md`` has every event type, attribute and data field that there is."""

from __future__ import annotations

import ast
import json
from typing import Any

import orjson

from shared.events import types
from shared.events.envelope import Event, bus_message, structured
from shared.mail import message as mail
from shared.mail.state import MailboxState
from shared.providers.base import Message
from tests.unit.docs.pages import blocks, name_in, page, sources, table

PAGE = page("docs/events.md")
TYPES = {name_in(row[0]): row for row in table(PAGE, "Type")}

MESSAGE = Message("m1", "t1", "7", ("INBOX",), 1.0, "Hello", "b@x.example", ("a@x.example",), (), (), "Hi", {}, ("to",))
MAILBOX = MailboxState("u:primary:GOOGLE", "u", "GOOGLE", "primary", "google:primary", 0.0, 0.0)


def _event() -> Event:
    """An update of a message that was cut: it has every field that a mail event can have."""
    before = {**mail.present(MESSAGE), "announced": "received"}
    event = mail.event_of(MAILBOX, before, {**before, "labels": [], "version": "8"}, 2, 1.0)
    assert event is not None
    return event


def test_the_types_are_those_that_clients_may_not_post() -> None:
    assert TYPES.keys() == types.RESERVED


def test_a_type_is_called_reserved_exactly_if_nothing_writes_it() -> None:
    names = {name: value for name, value in vars(types).items() if name.isupper() and isinstance(value, str)}
    assert set(names.values()) == types.RESERVED
    used = set()
    for path in sources("shared"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "types":
                used.add(names.get(node.attr))
            elif isinstance(node, ast.ImportFrom) and node.module == "shared.events.types":
                used |= {names.get(alias.name) for alias in node.names}
    assert {name for name, row in TYPES.items() if row[1].startswith("Reserved")} == types.RESERVED - used


def test_the_attributes_are_those_on_the_bus() -> None:
    assert [name_in(row[0]) for row in table(PAGE, "Attribute")] == list(bus_message(_event()).attributes)


def test_the_data_fields_are_those_of_a_mail_event() -> None:
    assert {name_in(row[0]) for row in table(PAGE, "Field")} == set(_event().data)


def test_the_example_has_the_form_of_an_event() -> None:
    [example] = [json.loads(block) for block in blocks(PAGE, "json") if '"specversion"' in block]
    real: dict[str, Any] = orjson.loads(orjson.dumps(structured(_event())))
    assert list(example) == list(real)
    assert set(example["data"]) == set(real["data"]) - {"truncated"}
    assert example["data"]["event_id"] == example["id"]


def test_changed_and_truncated_name_fields_of_the_page() -> None:
    fields = {name_in(row[0]) for row in table(PAGE, "Field")}
    assert set(mail.FIELDS.values()) <= fields
    assert "`to_addrs`" in PAGE
