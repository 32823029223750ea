"""Progress of a training where there is no terminal."""

import time

import pytest

from introvae.training.progress import LINE_EVERY, progress


def test_a_line_every_ten_seconds_and_at_the_end_tells_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    row = dict.fromkeys(("kl_real", "kl_reconstruction", "kl_sample", "loss_encoder", "images_per_second"), 1.0)
    with progress(4800, 800, "run") as on_log:
        for step in (801, 802, 4799, 4800):
            now += LINE_EVERY / 2
            on_log(row | {"step": float(step)})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["run: step 802/4800", "run: step 4800/4800"]
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["5.6 h left", "0 s left"]
