"""Catalogues as older versions of fc7 left them."""

import sqlite3
from contextlib import closing
from dataclasses import MISSING, fields
from pathlib import Path

from index.catalog.catalog import CatalogState
from index.catalog.schema import MIGRATIONS, migrate

COLUMNS = "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"


def make_older(catalog: Path, version: int) -> None:
    """Take from a catalogue what came after a version of the schema."""
    with closing(sqlite3.connect(":memory:")) as old:
        always = [field.name for field in fields(CatalogState) if field.default is MISSING]
        migrate(old, 0, migrations=MIGRATIONS[:version])
        kept = {name for (name,) in old.execute("SELECT name FROM sqlite_master")}
        columns = {row[:2] for row in old.execute(COLUMNS)}
        keys = {*always, *(key for (key,) in old.execute("SELECT key FROM meta"))}
    with closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        added = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        for kind in ("trigger", "index", "table"):
            for name in (name for type, name in added if type == kind and name not in kept):
                connection.execute(f"DROP {kind} {name}")
        for table, column in connection.execute(COLUMNS).fetchall():
            if (table, column) not in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for (key,) in connection.execute("SELECT key FROM meta").fetchall():
            if key not in keys:
                connection.execute("DELETE FROM meta WHERE key = ?", (key,))
        connection.execute(f"PRAGMA user_version = {version}")
