"""The verdict on several mailboxes of one person: each on its own, then what they share, then all figures together.

They share the bus, the sample consumer, and the ids of events; what belongs to no mailbox is found here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from infra.local.collect import Seen
from infra.local.verify import SHOWN, Beside, Findings, Report, verify
from infra.local.verify_delivery import Delivery, check_consumer, check_delivery

Json: TypeAlias = dict[str, Any]


def verify_mailboxes(
    truths: Mapping[str, Json],
    seen: Seen,
    delivered: Sequence[Delivery],
    anchors: Mapping[str, float],
    beside: Beside | None = None,
) -> tuple[Report, dict[str, Report]]:
    """Judge everything; answer the verdict on all, and on each mailbox by its provider.

    ``truths`` are the simulators', ``anchors`` when each mailbox was connected, both by the name of the provider that mailbox
    ids end with (``GOOGLE``); the rest is as ``verify`` takes it, of all mailboxes.
    """
    each = {
        provider: verify(
            truth,
            [message for message in seen.messages if _provider(message["mailbox"]) == provider],
            [gap for gap in seen.gaps if _provider(gap["mailbox"]) == provider],
            {"mailboxes": [entry for entry in seen.status["mailboxes"] if _provider(entry["id"]) == provider]},
            {stream: log for stream, log in seen.events.items() if _provider(stream) == provider},
            [push for push in delivered if _provider(push.attributes.get("ce-source", "")) == provider],
            None,
            anchors.get(provider),
        )
        for provider, truth in truths.items()
    }
    shared = Findings()
    _check_strays(truths.keys(), seen, delivered, shared)
    doubled, consumer_ok = check_consumer(seen.events, seen.senders, shared.add)
    repeated = _check_ids(seen, shared)
    if beside is not None:
        if beside.documents != len(seen.messages):
            shared.add(f"The database holds {beside.documents} messages; the API lists {len(seen.messages)}.")
        check_delivery(seen.events, beside.pulled, lambda text: shared.add(f"Pull subscription: {text}"))
    said = list(_said(each, shared))
    whole = Report(
        expected=sum(one.expected for one in each.values()),
        stored=sum(one.stored for one in each.values()),
        events=sum(one.events for one in each.values()),
        gaps=sum(one.gaps for one in each.values()),
        lost=sum(one.lost for one in each.values()),
        duplicates=sum(one.duplicates for one in each.values()) + doubled + repeated,
        contiguous=all(one.contiguous for one in each.values()),
        consumer_ok=consumer_ok,
        differences=tuple(said[:SHOWN]),
        difference_count=sum(one.difference_count for one in each.values()) + shared.count,
        shortened=sum(one.shortened for one in each.values()),
        documents=beside.documents if beside else None,
        pulled=len({push.attributes.get("ce-id", "") for push in beside.pulled}) if beside else None,
    )
    return whole, each


def _provider(mailbox: str) -> str:
    return mailbox.rpartition(":")[2]


def _said(each: Mapping[str, Report], shared: Findings) -> Iterator[str]:
    yield from shared.texts
    for provider, report in each.items():
        for text in report.differences:
            yield f"{provider}: {text}" if len(each) > 1 else text


def _check_strays(providers: Any, seen: Seen, delivered: Sequence[Delivery], findings: Findings) -> None:
    known = {entry["id"] for entry in seen.status["mailboxes"]}
    for mailbox in sorted(known):
        if _provider(mailbox) not in providers:
            findings.add(f"The status names the mailbox {mailbox}, which nobody connected.")
    for source in sorted({push.attributes.get("ce-source", "") for push in delivered} - known):
        findings.add(f"The bus delivered events of {source!r}, which is no mailbox.")


def _check_ids(seen: Seen, findings: Findings) -> int:
    """No event of one stream may have the id of another's; within a stream ``verify_log`` has looked."""
    streams = Counter(id_ for log in seen.events.values() for id_ in {event["id"] for event in log})
    shared = [id_ for id_, count in streams.items() if count > 1]
    for id_ in shared:
        findings.add(f"The event {id_} is in more than one stream.")
    return len(shared)
