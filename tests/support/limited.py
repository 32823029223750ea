"""Run introvae-train in processes that have little memory left: a script for test_memory.py.

    python limited.py MEBIBYTES COMMANDS

COMMANDS is a JSON list of lists of flags. Each command is a process forked from this one, which has done the slow
imports, and may take MEBIBYTES more than that. Prints a JSON list with the exit code and the stderr of each.
"""

import json
import os
import re
import resource
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import seaborn  # noqa: F401
import torch._dynamo  # noqa: F401  imported here, before memory is limited
from forks import Command

import analysis.measures.score  # noqa: F401
import introvae.training.progress  # noqa: F401
from analysis.train import main


def limited(words: list[str]) -> int:
    used = int(re.findall(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20, resource.RLIM_INFINITY))
    return main(words)


if __name__ == "__main__":
    ended = [Command(limited, words).wait() for words in json.loads(sys.argv[2])]
    print(json.dumps([(command.code, command.stderr) for command in ended]))
