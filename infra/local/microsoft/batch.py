"""POST /$batch: up to twenty requests as JSON, at most four of them at a time, each judged and answered alone.

A part names its own headers; only the token is that of the whole. One that depends on a part that failed answers 424.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from infra.local.microsoft.asked import ROOT, Call
from infra.local.microsoft.errors import invalid, refused
from infra.local.simulated.answers import Answer

Json: TypeAlias = dict[str, Any]
Wave: TypeAlias = Callable[[Sequence[Call]], list[Answer]]
"""Calls that run at the same time -> their answers, in the same order."""

MOST = 20
AT_ONCE = 4


def run_batch(whole: Call, run: Wave) -> list[tuple[str, Json]]:
    """The answers of all parts, each with its id. Raises ``GraphError`` 400 for what is no batch."""
    parts = _parts(whole)
    waiting, done = dict(parts), dict[str, Json]()
    while waiting:
        ready = [id_ for id_, part in waiting.items() if set(part.get("dependsOn") or ()) <= set(done)]
        if not ready:
            raise invalid("The dependsOn of a batch leads in a circle or nowhere.")
        failed = [id_ for id_ in ready if any(done[on]["status"] >= 400 for on in waiting[id_].get("dependsOn") or ())]
        for id_ in failed:
            done[id_] = _shown(
                id_, Answer.of(refused(424, "FailedDependency", "A request that this depends on failed."))
            )
        wave = [id_ for id_ in ready if id_ not in failed][:AT_ONCE]
        answers = run([_call(whole, waiting[id_]) for id_ in wave]) if wave else []
        for id_, answer in zip(wave, answers, strict=True):
            done[id_] = _shown(id_, answer)
        for id_ in (*failed, *wave):
            del waiting[id_]
    return [(id_, done[id_]) for id_ in parts]


def _parts(whole: Call) -> dict[str, Json]:
    try:
        requests = orjson.loads(whole.body)["requests"]
        parts = {str(part["id"]): part for part in requests}
        sane = all(isinstance(part["method"], str) and isinstance(part["url"], str) for part in requests)
    except (ValueError, KeyError, TypeError):
        raise invalid("Invalid batch payload format.") from None
    if not sane or not parts or len(parts) != len(requests):
        raise invalid("Every request of a batch needs an id of its own, a method and a url.")
    if len(requests) > MOST:
        raise invalid(f"Number of batch request steps exceeds the maximum value of {MOST}.")
    return parts


def _call(whole: Call, part: Mapping[str, Any]) -> Call:
    headers = {str(name).lower(): str(value) for name, value in (part.get("headers") or {}).items()}
    headers["authorization"] = whole.headers.get("authorization", "")
    body = part.get("body")
    raw = body.encode() if isinstance(body, str) else b"" if body is None else orjson.dumps(body)
    return Call(part["method"].upper(), ROOT + part["url"].lstrip("/"), headers, raw, whole.root)


def _shown(id_: str, answer: Answer) -> Json:
    """One answer as a part of the whole: JSON as it is, anything else in base64."""
    headers = dict(answer.headers) | {"Content-Type": answer.content_type}
    part: Json = {"id": id_, "status": answer.code, "headers": headers}
    if answer.body:
        try:
            part["body"] = orjson.loads(answer.body)
        except ValueError:
            part["body"] = base64.b64encode(answer.body).decode()
    return part
