"""Temporary PostgreSQL server in a folder of its own, on 127.0.0.1 and a free port."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PASSWORD = "s3cret{x}%"
QUOTED = "s3cret%7Bx%7D%25"  # in a URL


class PostgreSQL:
    """Server for a with statement; its databases have a password."""

    def __enter__(self) -> "PostgreSQL":
        self.programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.data = self.folder / "data"
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        self.port = free_port()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", self.data, "-U", "tester", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def url(self, database: str) -> str:
        """Create a database, and return its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "tester", database)
        return f"postgresql+psycopg://tester:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *words: object) -> None:
        user = "postgres" if os.getuid() == 0 else None
        command = [str(self.programs / program), *map(str, words)]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        with tempfile.TemporaryFile() as output:  # the server keeps a pipe open
            code = subprocess.run(
                command, stdout=output, stderr=output, user=user, group=user, extra_groups=[] if user else None,
                cwd="/", env=environment,
            ).returncode  # fmt: skip
            output.seek(0)
            assert code == 0, output.read().decode()


def free_port() -> int:
    """Return a port below those that the kernel gives to clients, which could get it while the server is stopped."""
    for port in range(20_000 + os.getpid() % 8_000, 32_000):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free between 20000 and 32000")


def programs() -> Path:
    """Return the folder of the server's programs; fail if PostgreSQL is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    folders = [path.parent for path in debian or map(Path, filter(None, [shutil.which("initdb")]))]
    assert folders, "these tests start a PostgreSQL server; install it (the Debian package postgresql)"
    return folders[-1]
