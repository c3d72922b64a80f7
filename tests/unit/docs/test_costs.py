"""What ``docs/costs.md`` says is what the product does today, at the prices of the table and by Google's rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.adapters.embedded.clock import VirtualClock
from shared.ports import BusMessage, Create
from shared.sets import embedded
from shared.settings import Settings
from tests.bench import sizes
from tests.bench.consumption import ASSUMED, Consumption
from tests.bench.costs import COMMAND, PAGE, PARTS, consumption
from tests.bench.prices import PRICES, Sku, cost, total
from tests.unit.docs.pages import page
from tests.unit.docs.tables import part


@pytest.fixture(scope="module")
def used() -> Consumption:
    return consumption()


@pytest.mark.parametrize("name", PARTS)
def test_a_table_of_costs_is_as_the_product_has_it(name: str, used: Consumption) -> None:
    assert part(page(PAGE), name)[2] == PARTS[name](used), f"run: {COMMAND}"


def test_every_generated_part_of_the_page_is_written_by_the_generator() -> None:
    assert re.findall(r"<!-- generated: (\S+) -->", page(PAGE)) == sorted(PARTS, key=page(PAGE).index)


def test_the_command_that_writes_the_page_is_on_it() -> None:
    assert f"`{COMMAND}`" in page(PAGE)


def test_a_backfilled_mail_costs_less_than_in_the_naive_pipeline(used: Consumption) -> None:
    assert cost(used.engine.backfilled) < cost(used.naive.backfilled) / 2
    assert used.naive.backfilled[Sku.WRITES] == used.naive.live[Sku.WRITES] == 4
    assert used.naive.backfilled[Sku.READS] == used.naive.live[Sku.READS] == 1


@pytest.mark.parametrize("sku", PRICES)
def test_a_price_has_a_source_and_the_day_it_was_read(sku: Sku) -> None:
    assert PRICES[sku].source.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", PRICES[sku].read)


def test_everything_that_can_be_billed_has_a_price() -> None:
    assert set(PRICES) == set(Sku)


def test_free_amounts_are_taken_off_once_and_never_pay_anything_back() -> None:
    assert PRICES[Sku.REQUESTS].of(3_000_000) == pytest.approx(1.2)
    assert PRICES[Sku.REQUESTS].of(3_000_000, with_free=True) == pytest.approx(0.4)
    assert PRICES[Sku.REQUESTS].of(1_000, with_free=True) == 0
    assert cost(total((2, {Sku.WRITES: 50_000}), (1, {Sku.READS: 100_000}))) == pytest.approx(0.09 + 0.03)


def test_a_document_is_as_large_as_in_googles_own_example() -> None:
    example = {"type": "Personal", "done": False, "priority": 1, "description": "Learn Cloud Firestore"}
    assert sizes.document("users/jeff/tasks/my_task_id", example) == 147


def test_an_indexed_field_takes_an_entry_beside_its_document() -> None:
    ref = "users/u/mailboxes/m/log/000000000001"
    plain, indexed = sizes.document(ref, {"other": 1}), sizes.document(ref, {"last": 1})
    names = len("users.u.mailboxes.m.log.000000000001.") + 16 + len("users.u.mailboxes.m.") + 16
    assert indexed - (plain - 1) == names + len("last.") + 8 + 32


def test_a_request_of_the_bus_is_billed_as_a_thousand_bytes_at_least() -> None:
    small = BusMessage(b"x" * 100, {"k": "vv"})
    assert sizes.message(small) == 100 + 3 + 20 + 17
    assert sizes.published([small] * 3) == 1_000
    assert sizes.published([small] * 10) == 1_400
    assert sizes.pushed([small] * 10) == 10_000


def test_the_time_of_an_instance_is_rounded_up_to_tenths_of_a_second() -> None:
    assert [ASSUMED.billed(seconds) for seconds in (0.0, 0.01, 0.1, 0.11, 20.05)] == [0.1, 0.1, 0.1, 0.2, 20.1]


def test_an_embedded_store_is_weighed_document_by_document(tmp_path: Path) -> None:
    ports = embedded(Settings(data_dir=str(tmp_path)), VirtualClock())
    ports.store.commit([Create("users/u", {"name": "Ann"})])
    assert sizes.documents(tmp_path / "brainstem.sqlite") == {"users": sizes.document("users/u", {"name": "Ann"})}
