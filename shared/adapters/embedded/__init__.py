"""Everything on one machine: one SQLite file for store, queue and bus, a folder of secrets, the machine's clock."""
