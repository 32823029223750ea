"""introvae-export: copies of runs without what only their training needs."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from introvae.commands.options import Parser, parse_path, run_command
from introvae.errors import UserError
from introvae.runs.folder import CHECKPOINT, CURVES, METRICS, PARAMS, PREVIOUS
from introvae.runs.record import SCORES

DESCRIPTION = (
    "Copy runs to give away or to commit: settings, log, scores, pictures, README.md, and of the last checkpoint only "
    "the weights that a run is evaluated with, a quarter of it or less. What is copied can be reported, scored and "
    "sampled, and trained from, but not continued."
)
FORMATS = ("safetensors", "onnx", "pt2")  # those of introvae.nn.formats, which --help does not import
KEPT = (PARAMS, METRICS, SCORES, CURVES, "images")


def command_line() -> Parser:
    """Return the parser of introvae-export."""
    parser = Parser("introvae-export", "RUN ... --out FOLDER [options]", DESCRIPTION)
    parser.add_argument("runs", type=parse_path, nargs="+", metavar="RUN", help="run folders; with --best a study")
    parser.add_argument("--out", type=parse_path, required=True, metavar="FOLDER", help="gets a folder for each run")
    text = "also write the weights as safetensors, or both networks as onnx or pt2; may be given again"
    parser.add_argument("--format", choices=FORMATS, action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--best", action="store_true", help="export the best-scoring run of each study named")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run introvae-export and return its exit code."""
    args = command_line().parse_args(argv)
    return run_command("introvae-export", lambda: export(args.runs, args.out, args.best, args.format))


def export(runs: list[Path], out: Path, best: bool = False, formats: Sequence[str] = ()) -> None:
    """Copy runs into `out`, or with `best` the best run of each study, each with a README.md that describes it.

    Raises:
        UserError: If a folder holds no run, one of its name is in `out` already, or a format cannot be written.
    """
    from introvae.runs.folder import read_config
    from introvae.runs.record import best_run

    sources = [best_run(run) if best else run for run in runs]
    taken: set[Path] = set()
    for source in sources:
        read_config(source)
        target = out / source.resolve().name
        if target.exists() or target in taken:
            why = "exists" if target.exists() else "would be written twice"
            raise UserError(f"{target} {why}; remove it or choose another --out")
        if target.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{out} lies in the run {source}; choose another --out")
        if links := [path for path in _kept(source) if path.is_symlink()]:
            raise UserError(f"{links[0]} is a link, and only files are copied; put the file in its place")
        if formats and not any((source / name).exists() for name in (CHECKPOINT, PREVIOUS)):
            raise UserError(f"{source} has no checkpoint, from which --format could be written")
        taken.add(target)
    for source in sources:
        copied = _copy(source, out, formats)
        size = sum(path.stat().st_size for path in copied.rglob("*") if path.is_file())
        print(f"{copied}: {size / 2**20:.1f} MB")


def _kept(source: Path) -> Iterator[Path]:
    """Find the files and folders that are copied."""
    for name in KEPT:
        if (source / name).exists() or (source / name).is_symlink():
            yield source / name
            yield from (source / name).rglob("*")


def _copy(source: Path, out: Path, formats: Sequence[str]) -> Path:
    """Copy a run under a new name, and rename it last: it is complete or not there at all."""
    from introvae.commands.model_card import CARD, model_card
    from introvae.runs.folder import load_checkpoint, read_config, save_checkpoint
    from introvae.runs.record import read_record

    target = out / source.resolve().name
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    part.mkdir(parents=True)
    try:
        for name in KEPT:
            if (source / name).is_dir():
                shutil.copytree(source / name, part / name, ignore=shutil.ignore_patterns(".*"))
            elif (source / name).exists():
                shutil.copy2(source / name, part / name)
        if state := load_checkpoint(source):
            from introvae.training.state import evaluated_weights

            save_checkpoint(part, {"step": state["step"], "model": evaluated_weights(source, state)})
        card = model_card(source, read_config(source), read_record(source), state["step"] if state else None)
        (part / CARD).write_text(card, encoding="utf-8")
        if formats:
            from introvae.nn.formats import WRITE
            from introvae.training.state import load_run

            model = load_run(part, "cpu")
            for name in formats:
                WRITE[name](model, part)
        return part.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        raise UserError(f"{target} exists; remove it or choose another --out") from error  # another process was first
    finally:
        shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
