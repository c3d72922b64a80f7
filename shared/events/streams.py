"""A user's streams as the API offers them: post to one's own, read all or one from an opaque position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from shared.errors import Hole, InvalidRequest, NotFound
from shared.events.app import AppStream
from shared.events.envelope import structured
from shared.events.log import read_streams, streams_of


@dataclass(frozen=True, slots=True)
class UserStreams:
    """Posting and reading for one user at a time."""

    app: AppStream

    def post(self, uid: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
        """Append to the user's own stream; answers ``event_id``, ``stream``, ``sequence``."""
        event = self.app.post(uid, type, data)
        return {"event_id": event.id, "stream": event.stream, "sequence": event.sequence}

    def read(
        self,
        uid: str,
        type: str | None,
        stream: str | None,
        after: str | None,
        limit: int,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Events after a position as CloudEvents, and the position behind them; None only while there is no stream.

        Raises ``NotFound``, and ``Hole`` when events after the position have expired; its ``position`` is where the log
        begins now, for readers who decide to go on from there.
        """
        names = streams_of(self.app.store, uid)
        if stream is not None:
            if stream not in names:
                raise NotFound("There is no such stream.")
            names = [stream]
        position = _position(after)
        try:
            reading = read_streams(self.app.store, names, position, limit, type)
        except Hole as hole:
            raise _with_way_on(hole, position) from None
        behind = orjson.dumps(reading.position).decode() if reading.position else None
        return [structured(event) for event in reading.events], behind


def _with_way_on(hole: Hole, position: dict[str, int]) -> Hole:
    beginning = {**position, hole.details["stream"]: hole.details["oldest"] - 1}
    return Hole(hole.message, **hole.details, position=orjson.dumps(beginning).decode())


def _position(after: str | None) -> dict[str, int]:
    if after is None:
        return {}
    try:
        position = orjson.loads(after)
    except orjson.JSONDecodeError:
        position = None
    if not isinstance(position, dict) or not all(type(at) is int and 0 <= at < 2**53 for at in position.values()):
        raise InvalidRequest("The cursor is not one that this list has given out.", field="after")
    return position
