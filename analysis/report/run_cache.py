"""What the last report read of each run, so that the next one reads only what changed.

$XDG_CACHE_HOME/introvae/runs-NAME-DIGEST.sqlite    one file for each folder reported on; may be removed

Beside the decoded images and not among the runs: these may be committed, shared or read-only.
"""

import hashlib
import json
import os
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from introvae.files import cache_root

PATIENCE = 60.0  # seconds for another report to finish writing


@dataclass(frozen=True)
class Entry:
    """The plain values read from a run's files when these had a `stamp`, and the thumbnail of its last picture."""

    stamp: str
    values: dict[str, Any]
    thumbnail: bytes


class RunCache:
    """Entries by name of run, loaded at once and saved at once; a file that cannot be used is made anew."""

    def __init__(self, root: Path) -> None:
        root = root.resolve()
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        self.path = cache_root() / f"runs-{root.name}-{digest}.sqlite"
        self.rows: dict[str, tuple[str, str, bytes]] = {}
        self.seen: set[str] = set()
        self.new: dict[str, tuple[str, str, bytes]] = {}
        if self.path.exists():
            try:
                with closing(self._connect()) as database:
                    found = database.execute("SELECT name, stamp, content, thumbnail FROM runs")
                    self.rows = {name: (stamp, content, thumbnail) for name, stamp, content, thumbnail in found}
            except sqlite3.Error:
                with suppress(OSError):
                    self.path.unlink()

    def get(self, name: str, stamp: str) -> Entry | None:
        """What was read of the run, or None if it has another stamp by now, or the cache is damaged there."""
        self.seen.add(name)
        old, content, thumbnail = self.rows.get(name, ("", "", b""))
        with suppress(ValueError):
            return Entry(stamp, json.loads(content), thumbnail) if old == stamp else None
        return None

    def put(self, name: str, entry: Entry) -> None:
        self.new[name] = (entry.stamp, json.dumps(entry.values), entry.thumbnail)

    def save(self) -> None:
        """Add what is new and drop what is gone. A cache that cannot be written is named on stderr."""
        gone = self.rows.keys() - self.seen
        if not self.new and not gone:
            return
        rows = ((name, *columns) for name, columns in self.new.items())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS runs (name PRIMARY KEY, stamp, content, thumbnail)")
                database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)
                database.executemany("DELETE FROM runs WHERE name = ?", ((name,) for name in gone))
        except (sqlite3.Error, OSError) as error:
            print(
                f"warning: the next report reads all runs again, as {self.path} cannot be written ({error}); "
                "set XDG_CACHE_HOME to a folder that can",
                file=sys.stderr,
            )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=PATIENCE)
