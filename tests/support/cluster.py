"""A Ray cluster of two nodes on this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until

RAY = str(Path(sys.executable).with_name("ray"))
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


class Node:
    """Node of a cluster, as `ray start` makes it: all its processes form one group."""

    def __init__(self, *words: str) -> None:
        command = [RAY, "start", "--block", "--num-cpus=2", "--disable-usage-stats", *words]
        self.process = subprocess.Popen(
            command,
            start_new_session=True,
            env=os.environ | QUIET,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End all processes of the node at once, as a power cut does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def two_nodes(gpus: int = 0) -> Iterator[tuple[str, Node]]:
    """Start a cluster, whose first node claims to have GPUs; yield its address and its second node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path, as those of sockets must be
    nodes = [
        Node("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}", f"--num-gpus={gpus}")
    ]
    try:
        wait_until(lambda: alive(address) == 1, 120)
        nodes.append(Node(f"--address={address}"))
        wait_until(lambda: alive(address) == 2, 120)
        yield address, nodes[1]
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def alive(address: str) -> int:
    """Return the number of nodes that a cluster has."""
    words = [RAY, "status", f"--address={address}"]
    shown = subprocess.run(words, capture_output=True, text=True, env=os.environ | QUIET).stdout
    active = shown.partition("Active:")[2].partition("Pending:")[0]
    return active.count("node_")
