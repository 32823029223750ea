import math
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_config

from introvae.errors import UserError
from introvae.files import lock, write_atomically
from introvae.runs.folder import (
    CHECKPOINT,
    PREVIOUS,
    MetricsLog,
    load_checkpoint,
    read_config,
    read_metrics,
    save_checkpoint,
    write_params,
)


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
        with pytest.raises(UserError, match="in use by another process"), lock(tmp_path):
            pass
        holder.kill()
    time.sleep(0.1)
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
