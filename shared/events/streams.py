"""A user's streams as the API offers them: post to one's own, read all or one from an opaque position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from shared.errors import InvalidRequest, NotFound
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

        Raises ``NotFound``, and ``Hole`` when events after the position have expired.
        """
        names = streams_of(self.app.store, uid)
        if stream is not None:
            if stream not in names:
                raise NotFound("There is no such stream.")
            names = [stream]
        reading = read_streams(self.app.store, names, _position(after), limit, type)
        position = orjson.dumps(reading.position).decode() if reading.position else None
        return [structured(event) for event in reading.events], position


def _position(after: str | None) -> dict[str, int]:
    if after is None:
        return {}
    position = orjson.loads(after)
    if not isinstance(position, dict) or not all(isinstance(value, int) for value in position.values()):
        raise InvalidRequest("The cursor is not one that this list has given out.", field="after")
    return position
