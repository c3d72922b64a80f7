"""The SQLite file: transactions, what its errors become, threads, durability."""

from __future__ import annotations

import gc
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.embedded.database import Database, increase
from shared.errors import ConfigurationError, Retry, StorageFull


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "deep" / "b.db", synchronous="OFF", busy_seconds=0.05)
    database.create("CREATE TABLE t(x)")
    yield database
    database.close()


def rows(database: Database) -> list[int]:
    with database.read() as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


def test_an_exception_takes_the_transaction_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    assert rows(database) == [2]


def test_a_transaction_in_a_transaction_is_an_error_not_a_deadlock(database: Database) -> None:
    with database.write(), pytest.raises(RuntimeError, match="already open"), database.write():
        pass
    with database.read(), pytest.raises(RuntimeError, match="already open"), database.write():
        pass
    assert rows(database) == []


def test_a_writer_in_the_same_process_that_does_not_end_means_retry(database: Database) -> None:
    holding, over = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            holding.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    try:
        with pytest.raises(Retry), database.write():
            pass
        assert rows(database) == [], "readers do not wait"
    finally:
        over.set()
        thread.join()
    with database.write():
        pass


def test_a_writer_in_another_process_that_does_not_end_means_retry(database: Database) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Retry) as caught, database.write():
            pass
        assert not isinstance(caught.value, StorageFull)
    finally:
        other.close()


def test_a_full_disk_is_said_aloud_and_nothing_is_applied(database: Database) -> None:
    def fill() -> None:
        with database.write() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")

    with pytest.raises(StorageFull):
        fill()
    assert rows(database) == []
    with database.write() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
        connection.execute("INSERT INTO t VALUES (2)")
    assert rows(database) == [2]


def test_a_disk_that_cannot_be_read_means_retry(tmp_path: Path) -> None:
    (tmp_path / "b.db").mkdir()
    with pytest.raises((Retry, IsADirectoryError)):
        Database(tmp_path / "b.db")


def test_a_mistake_in_a_statement_stays_a_mistake(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError), database.read() as connection:
        connection.execute("SELECT nonsense")


def test_a_file_of_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    Database(tmp_path / "b.db").close()
    with sqlite3.connect(tmp_path / "b.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="another version"):
        Database(tmp_path / "b.db")


def test_only_the_owner_may_read_the_file_and_its_companions(database: Database) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.path.parent.iterdir()}
    assert modes == {"b.db": 0o600, "b.db-wal": 0o600, "b.db-shm": 0o600}


def test_durable_transactions_are_full_and_relaxed_ones_normal(tmp_path: Path) -> None:
    database = Database(tmp_path / "b.db")
    modes = []
    for durable in (True, False, True):
        with database.write(durable=durable) as connection:
            modes.append(connection.execute("PRAGMA synchronous").fetchone()[0])
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.close()
    assert modes == [2, 1, 2]


def test_a_connection_ends_with_its_thread(database: Database) -> None:
    def use() -> None:
        with database.read() as connection:
            connection.execute("SELECT 1")

    for _ in range(5):
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    gc.collect()
    assert len(database._open) == 1


def test_a_closed_database_says_so(database: Database) -> None:
    database.close()
    with pytest.raises(RuntimeError, match="closed"), database.read():
        pass


def test_counters_go_on_and_roll_back_with_their_transaction(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            increase(connection, "n")
            raise LookupError

    with database.write() as connection:
        assert [increase(connection, "n"), increase(connection, "n", 10), increase(connection, "m")] == [1, 11, 1]
    with pytest.raises(LookupError):
        fail()
    with database.write() as connection:
        assert increase(connection, "n") == 12


def test_many_threads_may_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    opened: list[Database] = []

    def go() -> None:
        barrier.wait()
        opened.append(Database(tmp_path / "b.db"))

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    for database in opened:
        database.close()
