"""The cache of a report: the values that the last one read of each run, so that the next reads only what has changed.

$XDG_CACHE_HOME/introvae/runs-NAME-DIGEST.sqlite    one file for each folder reported on; may be removed

It lies beside the decoded images and not among the runs, which may be committed, shared or read-only.
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

LOCK_TIMEOUT = 60.0  # seconds for another report to finish writing


@dataclass(frozen=True)
class Entry:
    """The values that a run's files held when they had this stamp, and the thumbnail of the run's last picture."""

    stamp: str
    values: dict[str, Any]
    thumbnail: bytes


class RunCache:
    """Entries by name of run, loaded and saved all at once; a file that cannot be used is removed and written again.

    Args:
        root: The folder reported on.
    """

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
        """Return the entry of a run, or None if the run has another stamp by now or its entry is damaged."""
        self.seen.add(name)
        old, content, thumbnail = self.rows.get(name, ("", "", b""))
        with suppress(ValueError):
            return Entry(stamp, json.loads(content), thumbnail) if old == stamp else None
        return None

    def put(self, name: str, entry: Entry) -> None:
        """Add or replace the entry of a run; `save` writes it."""
        self.new[name] = (entry.stamp, json.dumps(entry.values), entry.thumbnail)

    def save(self) -> None:
        """Write the new entries, and remove those of runs that `get` was not asked for.

        A cache that cannot be written only causes a warning on stderr.
        """
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
        return sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)
