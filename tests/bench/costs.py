"""``python -m tests.bench.costs``: write the tables of ``docs/costs.md``, measured and priced anew.

The prose of the page is written by hand and holds no figure that is measured; ``tests/unit/docs/test_costs.py`` demands
that the tables are as written here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from infra.local.catalogue import ROOT
from tests.bench.consumption import (
    ASSUMED,
    IDLE_SECONDS,
    LARGE,
    LIVE_SAMPLES,
    MEMORY_GIB,
    SMALL,
    Consumption,
    Part,
    measure,
)
from tests.bench.prices import DAYS_PER_MONTH, PRICES, Sku, Usage, cost, total
from tests.unit.docs.pages import page
from tests.unit.docs.tables import part

PAGE = "docs/costs.md"
COMMAND = "python -m tests.bench.costs"
MILLION = 1e6
MAILBOXES, MAILS, MAILS_A_DAY = 1_000, 50_000, 80
"""The worked example."""

BAR = 40
SHARED = (1, 8, 32)
GROUPS: dict[str, tuple[Sku, ...]] = {
    "Firestore: writes": (Sku.WRITES, Sku.KEY_WRITES, Sku.DELETES),
    "Firestore: reads": (Sku.READS, Sku.KEY_READS),
    "Firestore: storage": (Sku.STORED,),
    "Cloud Run: CPU and memory": (Sku.CPU, Sku.MEMORY),
    "Cloud Run: requests": (Sku.REQUESTS,),
    "Cloud Tasks": (Sku.TASKS,),
    "Pub/Sub": (Sku.BUS,),
    "Logging": (Sku.LOGS,),
    "Scheduler, secrets": (Sku.JOBS, Sku.SECRETS, Sku.ACCESSES),
}
"""The lines of a bill."""

UNITS = {Sku.BUS: "bytes", Sku.LOGS: "bytes", Sku.CPU: "vCPU-s", Sku.MEMORY: "GiB-s"}


def prices(_: Consumption) -> str:
    """Every price that is used."""
    rows = [
        (str(sku), _plain(price.usd), price.unit, price.free_as_given, f"[page]({price.source})", price.read)
        for sku, price in PRICES.items()
    ]
    return _table(("What", "Price", "For", "Free", "Source", "Read"), rows, figures=False)


def assumed(_: Consumption) -> str:
    """What is not counted."""
    rows = [
        ("A call of Gmail takes", f"{ASSUMED.gmail_seconds:g} s"),
        ("A call of Firestore, Pub/Sub or Cloud Tasks takes", f"{ASSUMED.trip_seconds:g} s"),
        ("CPU of one mail, beside all waiting", f"{ASSUMED.cpu_per_mail:g} vCPU-s"),
        ("Size of an instance", f"1 vCPU, {MEMORY_GIB:g} GiB"),
        ("Requests that share an instance during a backfill", str(ASSUMED.shared)),
        ("Requests that share an instance otherwise", "1"),
        ("Log lines of a request, the platform's own included", f"{ASSUMED.log_bytes:,} bytes"),
        ("Starts of instances a day; each reads every secret", str(ASSUMED.starts_per_day)),
    ]
    return _table(("Assumed", "Value"), rows, figures=False)


def operations(used: Consumption) -> str:
    """What is counted, per mail and per mailbox."""
    columns = (
        used.engine.backfilled,
        used.engine.live,
        used.naive.backfilled,
        used.naive.live,
        used.engine.idle_day,
        used.connecting,
    )
    header = (
        "",
        "Backfilled mail",
        "Live mail",
        "Naive, backfilled",
        "Naive, live",
        "Idle mailbox and day",
        "Connecting",
    )
    stored = used.stored
    kept = ("bytes stored and kept", *map(_number, (stored["backfilled"], stored["live"], stored["naive"], stored["naive"])),
            "-", _number(stored["mailbox"]))  # fmt: skip
    return _table(header, [*_rows(columns), kept])


def consumers(used: Consumption) -> str:
    """The same for those who listen."""
    columns = (
        used.consumer.backfilled,
        used.consumer.live,
        used.consumer.idle_day,
        used.outside.backfilled,
        used.outside.live,
    )
    header = ("", "`senders`, backfilled mail", "`senders`, live mail", "`senders`, idle mailbox and day",
              "Outside, backfilled mail", "Outside, live mail")  # fmt: skip
    kept = ("bytes stored and kept", _number(used.stored["consumer"]), "-", "-", "-", "-")
    return _table(header, [*_rows(columns), kept])


def dollars(used: Consumption) -> str:
    """What a million of each costs, without free amounts."""

    def row(name: str, times: float, of: Callable[[Part], Usage]) -> tuple[str, ...]:
        return (
            name,
            *(_dollars(times * cost(of(who))) for who in (used.engine, used.consumer, used.outside, used.naive)),
        )

    kept = [
        _dollars(PRICES[Sku.STORED].of(MILLION * used.stored[name])) for name in ("backfilled", "consumer", "naive")
    ]
    rows = [
        row("1 M backfilled mails", MILLION, lambda who: who.backfilled),
        row("1 M live mails", MILLION, lambda who: who.live),
        row("1,000 idle mailboxes, a month", 1_000 * DAYS_PER_MONTH, lambda who: who.idle_day),
        ("1 M backfilled mails kept, a month", kept[0], kept[1], "-", kept[2]),
    ]
    fixed, once = _dollars(cost(used.fixed_month)), _dollars(1_000 * cost(used.connecting))
    rows += [
        ("connecting 1,000 mailboxes", once, "-", "-", "-"),
        ("the installation itself, a month", fixed, "-", "-", "-"),
    ]
    return _table(("", "Brainstem", "`senders`", "One subscriber outside", "Naive"), rows)


def sharing(used: Consumption) -> str:
    """What the number of requests that share an instance makes of it."""
    rows = []
    for shared in SHARED:
        values = [
            _shared(usage, before / shared)
            for usage, before in (
                (used.engine.backfilled, ASSUMED.shared),
                (used.naive.backfilled, ASSUMED.shared),
                (used.engine.live, 1),
                (used.naive.live, 1),
            )
        ]
        rows.append((str(shared), *(_dollars(MILLION * cost(value)) for value in values)))
    header = ("Requests that share", "1 M backfilled mails", "Naive", "1 M live mails", "Naive")
    return _table(header, rows)


def example(used: Consumption) -> str:
    """The bill of the worked example, line by line."""
    months = _months(used)
    rows = [(name, *(_dollars(_line(month, skus)) for month in months)) for name, skus in GROUPS.items()]
    rows.append(("**together, without free amounts**", *(f"**{_dollars(cost(month))}**" for month in months)))
    rows.append(("**together, with free amounts**", *(f"**{_dollars(cost(month, True))}**" for month in months)))
    rows.append(("per mailbox, with free amounts", *(f"${cost(month, True) / MAILBOXES:.4f}" for month in months)))
    header = ("", "First month", "Naive", "Second month", "Naive")
    return _table(header, rows)


def chart(used: Consumption) -> str:
    """Where the money of the second month goes."""
    _, _, ours, naive = _months(used)
    most = max(_line(month, skus) for month in (ours, naive) for skus in GROUPS.values())
    lines = []
    for title, month in (("Brainstem", ours), ("Naive", naive)):
        lines += [f"{title}, {_dollars(cost(month))}"]
        for name, skus in GROUPS.items():
            value = _line(month, skus)
            lines.append(f"  {name:<26}{_dollars(value):>9}  {'#' * round(BAR * value / most)}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```\n"


def counted(_: Consumption) -> str:
    """How much was run for it."""
    return (
        f"Counted over backfills of {SMALL} and {LARGE} mails (a mail more is their difference), {LIVE_SAMPLES} live mails and "
        f"{IDLE_SECONDS / 3600:g} idle hours.\n"
    )


PARTS: dict[str, Callable[[Consumption], str]] = {
    "cost-prices": prices,
    "cost-assumed": assumed,
    "cost-counted": counted,
    "cost-operations": operations,
    "cost-consumers": consumers,
    "cost-dollars": dollars,
    "cost-sharing": sharing,
    "cost-example": example,
    "cost-chart": chart,
}
"""Name of a generated part of the page -> what writes it."""


def consumption() -> Consumption:
    """Measure in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def main() -> int:
    """Write every part into the page."""
    used, text = consumption(), page(PAGE)
    for name, write in PARTS.items():
        found = part(text, name)
        text = text[: found.start(2)] + write(used) + text[found.end(2) :]
    (ROOT / PAGE).write_text(text, encoding="utf-8")
    return 0


def _months(used: Consumption) -> tuple[Usage, Usage, Usage, Usage]:
    """First month and second of the example, each ours and the naive one; both have our consumer and one outside."""
    past, a_month = float(MAILBOXES * MAILS), float(MAILBOXES * MAILS_A_DAY * DAYS_PER_MONTH)
    days = float(MAILBOXES * DAYS_PER_MONTH)

    def month(engine: Part, stored: tuple[float, float], second: bool) -> Usage:
        # What arrives in a month is kept for half of it on average.
        live = (1.5 if second else 0.5) * a_month
        bytes_kept = (
            past * (stored[0] + used.stored["consumer"]) + live * stored[1] + MAILBOXES * used.stored["mailbox"]
        )
        begins = [] if second else [(past, who.backfilled) for who in (engine, used.consumer, used.outside)]
        return total(
            *begins,
            *((a_month, who.live) for who in (engine, used.consumer, used.outside)),
            *((days, who.idle_day) for who in (engine, used.consumer, used.outside)),
            (0 if second else MAILBOXES, used.connecting),
            (1, used.fixed_month),
            (1, {Sku.STORED: bytes_kept}),
        )

    ours, naive = (used.stored["backfilled"], used.stored["live"]), (used.stored["naive"], used.stored["naive"])
    first, second = ((month(used.engine, ours, later), month(used.naive, naive, later)) for later in (False, True))
    return (*first, *second)


def _shared(usage: Usage, factor: float) -> Usage:
    """The usage of one mail if its waiting costs so many times as much; its own work stays."""
    changed = dict(usage)
    changed[Sku.CPU] = ASSUMED.cpu_per_mail + (usage[Sku.CPU] - ASSUMED.cpu_per_mail) * factor
    changed[Sku.MEMORY] = changed[Sku.CPU] * MEMORY_GIB
    return changed


def _line(month: Usage, skus: Iterable[Sku]) -> float:
    return cost({sku: month.get(sku, 0) for sku in skus})


def _rows(columns: Sequence[Usage]) -> list[tuple[str, ...]]:
    return [
        (f"{sku}{f' ({UNITS[sku]})' if sku in UNITS else ''}", *(_number(column.get(sku, 0)) for column in columns))
        for sku in Sku
        if any(column.get(sku, 0) for column in columns)
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], figures: bool = True) -> str:
    lines = [header, ["---", *("---:" if figures else "---" for _ in header[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    """Three digits are enough; nothing is a dash."""
    value = round(value, 6)
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value else "-"


def _plain(usd: float) -> str:
    """A price as price lists have it: all its digits, cents at least."""
    whole, _, rest = f"{usd:.8f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}"


if __name__ == "__main__":
    sys.exit(main())
