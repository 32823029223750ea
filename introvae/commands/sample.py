"""introvae-sample: pictures from a trained run."""

from pathlib import Path

from introvae.commands.options import DEVICE_HELP, Parser, parse_path, run_command, say_earlier
from introvae.data.notes import counted
from introvae.data.search import make_output
from introvae.errors import UserError

DESCRIPTION = "Decode noise with a trained run, into a sheet and a PNG for each sample."


def command_line() -> Parser:
    """Return the parser of introvae-sample."""
    parser = Parser("introvae-sample", "RUN [options]", DESCRIPTION)
    parser.add_argument("run", type=parse_path, metavar="RUN", help="run folder; with --best a study")
    parser.add_argument("--best", action="store_true", help="use the best-scoring run of a study")
    parser.add_argument("--n", type=int, default=64, metavar="N", help="number of samples [64]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise [0]")
    parser.add_argument("--truncation", type=float, metavar="X", help="draw numbers beyond X again, such as 1.5 [none]")
    parser.add_argument("--out", type=parse_path, metavar="FOLDER", help="output folder [RUN/samples]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run introvae-sample and return its exit code."""
    args = command_line().parse_args(argv)
    return run_command("introvae-sample", lambda: sample(**vars(args)))


def sample(run: Path, best: bool, n: int, seed: int, truncation: float | None, out: Path | None, device: str) -> None:
    """Decode noise and write a PNG for each sample, and an enlarged sheet of all.

    Args:
        run: A run folder with a checkpoint, or with `best` that of a study.
        best: Take the study's complete run with the highest score.
        n: Number of samples.
        seed: Seed of the noise.
        truncation: Redraw values of the noise that are further than this from 0; none if None.
        out: Folder for the samples; one in the run folder if None.
        device: Name of the device, as `find_device` takes it.

    Raises:
        UserError: If a number is out of range, or the run has no model.
    """
    for name, value, fits, allowed in (
        ("--n", n, n >= 1, "1 or more"),
        ("--seed", seed, seed >= 0, "0 or more"),
        ("--truncation", truncation, truncation is None or truncation > 0, "more than 0"),
    ):
        if not fits:
            raise UserError(f"{name} is {value}; allowed: {allowed}")
    from torch.nn import functional

    from introvae.runs.pictures import lay_out, legible, write_png
    from introvae.runs.record import best_run
    from introvae.training.device import find_device, tune_process
    from introvae.training.state import load_run

    tune_process(find_device(device))
    run = best_run(run) if best else run
    images = load_run(run, device).sample(n, seed, truncation)
    out = out or run / "samples"
    make_output(out)
    names = [f"{index:05d}.png" for index in range(n)]
    for name, image in zip(names, images, strict=True):
        write_png(out / name, lay_out(image[None, None]))
    columns = round(n**0.5)
    missing = -n % columns
    tiles = functional.pad(images, (0, 0) * 3 + (0, missing), value=1.0)  # white
    sheet = legible(lay_out(tiles.unflatten(0, (-1, columns))), images.shape[-1])
    write_png(out / "sheet.png", sheet)
    say_earlier(out, {*names, "sheet.png"})
    print(f"{counted(n, 'sample')}: {out}, all of them in {out / 'sheet.png'}")


if __name__ == "__main__":
    raise SystemExit(main())
