import math
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_config

from introvae.errors import UserError
from introvae.files import lock, write_atomically
from introvae.runs.folder import (
    CHECKPOINT,
    LONGEST_ROW,
    METRICS,
    PREVIOUS,
    MetricsLog,
    last_row,
    load_checkpoint,
    read_config,
    read_metrics,
    save_checkpoint,
    write_params,
)
from introvae.training.metrics import COLUMNS


def test_parameters_come_back_and_another_run_is_refused(tmp_path: Path) -> None:
    config = tiny_config()
    write_params(tmp_path, config, {"device": "cpu"})
    assert read_config(tmp_path) == config
    write_params(tmp_path, config, {"device": "cuda"})
    with pytest.raises(UserError, match=r"holds another run \(beta: 20.0 -> 21.0; m: 20.0 -> 3.0\)"):
        write_params(tmp_path, tiny_config(beta=21.0, m=3.0), {})
    assert read_config(tmp_path) == config


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("introvae.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from introvae.files import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(UserError) as refused, lock(tmp_path):
                pass
        finally:
            holder.kill()
    who = f"process {holder.pid} on {socket.gethostname()}"
    assert str(refused.value) == f"{tmp_path} is in use by {who}; wait for it or choose another --out"
    with lock(tmp_path):
        pass


def test_the_last_good_checkpoint_is_found(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step, "w": torch.full((3,), float(step))})
    newest = load_checkpoint(tmp_path)
    assert newest and newest["step"] == 2
    content = (tmp_path / CHECKPOINT).read_bytes()
    for cut in (0, 1, 10, len(content) // 2, len(content) - 1):
        (tmp_path / CHECKPOINT).write_bytes(content[:cut])
        before = load_checkpoint(tmp_path)
        assert before and before["step"] == 1
    assert not (tmp_path / CHECKPOINT).exists()  # set aside, as if killed between the two renames
    before = load_checkpoint(tmp_path)
    assert before and before["step"] == 1
    (tmp_path / PREVIOUS).write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint in .* can be read"):
        load_checkpoint(tmp_path)


class Malice:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / CHECKPOINT).write_bytes(pickle.dumps(Malice(trace), protocol=2))
    with pytest.raises(UserError, match="can be read"):
        load_checkpoint(tmp_path)
    torch.save({"step": Malice(trace)}, tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="can be read"):
        load_checkpoint(tmp_path)
    assert not trace.exists()


def test_metrics_come_back_without_a_torn_last_row(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, ("step", "kl"), [])
    log.append({"step": 1, "kl": 2.5})
    log.append({"step": 2, "kl": math.nan})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("3")
    rows = read_metrics(tmp_path)
    assert rows[0] == {"step": 1, "kl": 2.5}
    assert len(rows) == 2 and math.isnan(rows[1]["kl"])
    MetricsLog(tmp_path, ("step", "kl"), rows[:1])
    assert (tmp_path / "metrics.csv").read_text() == "step,kl\n1,2.5\n"


@pytest.mark.parametrize(("text", "message"), [
    ("step,kl\n1,2\n", "it has no column alpha; restore it, or remove "),
    ("", "it is empty, or cut off in its first line"),
    ("step,alpha,kl,kl\n1,2,3,4\n", "it has two columns kl"),
    ("step,alpha\n,1\n", "step is nan"),
    ("step,alpha\n1.5,1\n", "step is 1.5"),
    ("step,alpha\n-1,1\n", "step is -1.0"),
    ("step,alpha\n1e300,1\n", "step is 1e\\+300"),
])  # fmt: skip
def test_a_log_of_other_columns_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(text)
    with pytest.raises(UserError, match=f"cannot read .*metrics.csv: {message}"):
        read_metrics(tmp_path, columns=("step", "alpha"))


def test_a_log_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / METRICS)
    with pytest.raises(UserError, match=r"metrics.csv: it is not a file"):
        read_metrics(tmp_path)


def test_the_last_row_follows_a_growing_log(tmp_path: Path) -> None:
    assert last_row(tmp_path) is None
    log = MetricsLog(tmp_path, ("step", "kl"), [])
    assert last_row(tmp_path) is None  # only names
    for step in (1, 2, 300):
        log.append({"step": step, "kl": step / 2})
        assert last_row(tmp_path) == {"step": step, "kl": step / 2}
    log.append({"step": 301, "kl": math.nan})
    row = last_row(tmp_path)
    assert row and row["step"] == 301 and math.isnan(row["kl"])


def test_the_last_row_is_the_last_whole_one_wherever_the_log_is_cut_off(tmp_path: Path) -> None:
    path, header, first = tmp_path / METRICS, "step,kl\n", "1,0.25\n"
    text = f"{header}{first}12,0.5\n"
    for length in range(len(text) + 1):
        path.write_text(text[:length])
        whole = text[:length].count("\n") - 1
        assert last_row(tmp_path) == (None, {"step": 1, "kl": 0.25}, {"step": 12, "kl": 0.5})[max(whole, 0)], length


@pytest.mark.parametrize("columns", [2, 20])
def test_the_last_row_of_a_long_log_is_found_from_its_end(columns: int, tmp_path: Path) -> None:
    names = ("step", *(f"column_{index}" for index in range(columns)))
    log = MetricsLog(tmp_path, names, [])
    rows = read_all = 0
    while (tmp_path / METRICS).stat().st_size < 3 * LONGEST_ROW:
        rows += 1
        log.append(dict.fromkeys(names, 1 / 3) | {"step": rows})
        read_all += last_row(tmp_path) == dict.fromkeys(names, 0.333333333) | {"step": rows}
    assert read_all == rows
    with (tmp_path / METRICS).open("a") as file:
        file.write("9" * (LONGEST_ROW // 2))  # of a row that is being written
    assert last_row(tmp_path) == dict.fromkeys(names, 0.333333333) | {"step": rows}


@pytest.mark.parametrize("text", ["", "\n", "step,kl\n1\n", "step,kl\n1,2,3\n", "step,kl\n1,x\n", "\xff\xfe\n1\n"])
def test_a_log_that_is_no_table_has_no_last_row(text: str, tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(text.encode("latin-1"))
    assert last_row(tmp_path) is None


def test_rows_of_a_training_are_no_longer_than_the_last_one_is_looked_for() -> None:
    longest = ",".join(["-1.23456789e-308"] * len(COLUMNS))
    assert 2 * len(longest) < LONGEST_ROW
