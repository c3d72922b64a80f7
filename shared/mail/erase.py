"""Erasing a mailbox: first the fence, then consumers' marks and effects, then every document, the mailbox last.

The order is what keeps slow writers out: after the fence no step commits, and a consumer can only commit against the
watermark that has been deleted or against the mailbox that has been fenced. A crash anywhere resumes: the mailbox is there,
and due, until all else is gone. Its id is never given again, so old watermarks cannot meet a new stream.
"""

from __future__ import annotations

from shared import queries, refs
from shared.events.consume import delete_all, forget_stream
from shared.mail import channel
from shared.mail.connect import unrouted
from shared.mail.context import Context, Loaded
from shared.mail.tasks import StepTask
from shared.ports import Delete

AT_ONCE = 200


def erase(ctx: Context, loaded: Loaded, _task: StepTask) -> bool:
    """Remove a fenced mailbox and everything below it; False when it has to go on."""
    state = loaded.state
    if not state.erasing:
        return True
    for consumer in ctx.consumers:
        forget_stream(ctx.store, consumer, state.id)
    parent = refs.stream(state.id)
    for query in (
        queries.messages_of(state.id, AT_ONCE),
        queries.gaps_of(state.id, AT_ONCE),
        queries.segments_after(state.id, 0, AT_ONCE),
        queries.resync_pages(state.id),
        queries.folders_of(state.id),
    ):
        delete_all(ctx.store, query)
    if state.may_ring:  # the data do not wait for the provider; the address is needed to know who shares it
        channel.stop(ctx, loaded)
        return False
    if state.address is not None:
        route = refs.route(state.provider, state.address)
        if writes := unrouted(ctx.store.get([route]).get(route), state.id):
            ctx.store.commit(writes)
    if routes := channel.unrouted_channels(ctx, state):
        ctx.store.commit(routes)
    ctx.store.commit([Delete(parent, loaded.version)])
    return True
