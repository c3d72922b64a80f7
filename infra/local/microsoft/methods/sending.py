"""Drafts are written and sent, and mail is sent without a draft. What goes to oneself comes in like any other mail."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from infra.local.microsoft.asked import Asked, Json, Plain, Route
from infra.local.microsoft.composing import Build, as_sent, from_json, from_mime, is_mime
from infra.local.microsoft.errors import invalid
from infra.local.microsoft.mailbox import Arrival, Mailbox
from infra.local.microsoft.methods.messages import known, shown
from infra.local.microsoft.placement import place
from infra.local.simulated.reading import Mail, from_raw

ACCEPTED = Plain(code=202)


def draft(asked: Asked) -> Json:
    """POST /me/messages and /me/mailFolders/{id}/messages: a new draft."""
    where = replace(place(["DRAFT"]), folder=asked.words[0] if asked.words else "drafts")
    mime = from_mime(asked) if is_mime(asked) else None
    build = from_json(asked, asked.json()) if mime is None else partial(_same, mime)
    with asked.outlook.change(asked.address) as mailbox:
        made = mailbox.add(Arrival(where, asked.outlook.clock.now(), build))
    return shown(asked, made)


def send(asked: Asked) -> Plain:
    """POST /me/messages/{id}/send."""
    message_id = known(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mail = from_raw(mailbox.raw(message_id))
        _require_recipient(mail)
        mailbox.send(message_id)
        _deliver_to_self(asked, mailbox, mail)
    return ACCEPTED


def send_mail(asked: Asked) -> Plain:
    """POST /me/sendMail, as JSON or as MIME."""
    keep = True
    if is_mime(asked):
        mime = as_sent(asked, from_mime(asked))
        build: Build = partial(_same, mime)
        _require_recipient(mime)
    else:
        body = asked.json()
        if not isinstance(body.get("message"), dict):
            raise invalid("The Message parameter is missing.", "ErrorInvalidRequest")
        keep = body.get("saveToSentItems", True) is not False
        build = from_json(asked, body["message"])
        _require_recipient(build("unsent"))
    with asked.outlook.change(asked.address) as mailbox:
        now = asked.outlook.clock.now()
        if keep:
            sent = mailbox.add(Arrival(place(["SENT"]), now, build))
            mail = from_raw(mailbox.raw(sent))
        else:
            mail = build("unsaved")
        _deliver_to_self(asked, mailbox, mail)
    return ACCEPTED


def _deliver_to_self(asked: Asked, mailbox: Mailbox, mail: Mail) -> None:
    people = {person.lower() for name in ("to", "cc", "bcc") for person in mail.truth[name]}
    if asked.address.lower() in people:
        mailbox.add(Arrival(place(["INBOX", "UNREAD"]), asked.outlook.clock.now(), partial(_same, mail)))


def _same(mail: Mail, _: str) -> Mail:
    """A mail that is what it is under whatever id."""
    return mail


def _require_recipient(mail: Mail) -> None:
    if not (mail.truth["to"] or mail.truth["cc"] or mail.truth["bcc"]):
        raise invalid("At least one recipient is not valid.", "ErrorInvalidRecipients")


ROUTES = (
    Route("messages.create", "POST", "messages", draft, 201, scope="write"),
    Route("messages.create", "POST", "mailFolders/{id}/messages", draft, 201, scope="write"),
    Route("messages.send", "POST", "messages/{id}/send", send, scope="send"),
    Route("me.sendMail", "POST", "sendMail", send_mail, scope="send"),
)
