"""introvae-apply: one's own images through a trained run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from introvae.commands.options import DEVICE_HELP, Parser, parse_path, run_command, say_earlier
from introvae.data.notes import counted
from introvae.data.search import make_output
from introvae.errors import UserError
from introvae.files import folder_name, make_folder

if TYPE_CHECKING:
    from torch import Tensor

    from introvae.nn.networks import IntroVAE

DESCRIPTION = "Reconstruct or encode images with a trained run, or show what it sees between two of them."
VERBS = ("reconstruct", "encode", "interpolate")
BATCH = 64  # images that are opened at once
MOST_SHOWN = 64  # pairs in the sheet


def command_line() -> Parser:
    """Return the parser of introvae-apply."""
    parser = Parser("introvae-apply", "VERB RUN IMAGE ... [options]", DESCRIPTION)
    text = "reconstruct: PNGs and a sheet; encode: latents.npz with mu and logvar (N, z) and files (N,); interpolate: "
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help=text + "a row of images from one to another")
    parser.add_argument("run", type=parse_path, metavar="RUN", help="run folder; with --best a study")
    parser.add_argument("images", type=parse_path, nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--best", action="store_true", help="use the best-scoring run of a study")
    parser.add_argument("--out", type=parse_path, metavar="FOLDER", help="output folder [VERB in the current folder]")
    parser.add_argument("--n", type=int, default=9, metavar="N", help="interpolate: images, both ends included [9]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run introvae-apply and return its exit code."""
    args = command_line().parse_args(argv)
    return run_command("introvae-apply", lambda: apply(**vars(args)))


def apply(verb: str, run: Path, images: Sequence[Path], best: bool, out: Path | None, n: int, device: str) -> None:
    """Reconstruct, encode or interpolate images, and write the results.

    Args:
        verb: "reconstruct", "encode" or "interpolate".
        run: A run folder with a checkpoint, or with `best` that of a study.
        images: Image files, or folders of them.
        best: Take the study's complete run with the highest score.
        out: Folder for the results; the verb's name if None.
        n: Images of an interpolation, both ends included.
        device: Name of the device, as `find_device` takes it.

    Raises:
        UserError: If the run has no model, an image cannot be read, or their number does not suit the verb.
    """
    from introvae.data.search import image_files
    from introvae.files import expanded
    from introvae.runs.record import best_run
    from introvae.training.device import find_device, tune_process
    from introvae.training.state import load_run

    images = [expanded(path) for path in images]  # as --data is
    folders = {path: image_files({"data": path})["data"][1] for path in images if path.is_dir()}
    paths = [file for path in images for file in folders.get(path, [path])]
    if verb == "interpolate" and (len(paths) != 2 or n < 2):
        raise UserError(f"interpolate takes two images and --n 2 or more, not {len(paths)} and {n}")
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(f"there is no image file {missing[0]}")
    out = out or Path(verb)
    if out.resolve() in {path.resolve().parent for path in paths}:
        raise UserError(f"{out} holds images that are read; choose another --out")
    tune_process(find_device(device))
    model = load_run(best_run(run) if best else run, device)
    {"reconstruct": _reconstruct, "encode": _encode, "interpolate": _interpolate}[verb](model, paths, out, n)


def _reconstruct(model: "IntroVAE", paths: Sequence[Path], out: Path, _: int) -> None:
    import torch

    from introvae.runs.pictures import lay_out, legible, write_png

    shown: list[Tensor] = []
    digits = len(str(len(paths)))
    names = [f"{index:0{digits}}-{folder_name(path.stem)}.png" for index, path in enumerate(paths)]
    left = iter(names)
    for _part, batch in _batches(model, paths):
        made = model.reconstruct(batch).cpu()
        make_output(out)
        for image in made:
            write_png(out / next(left), lay_out(image[None, None]))
        if len(shown) < MOST_SHOWN:
            shown += [torch.stack(pair) for pair in zip(batch, made, strict=True)]
    pairs = torch.stack(shown[:MOST_SHOWN], 1)  # images above reconstructions
    write_png(out / "sheet.png", legible(lay_out(pairs), pairs.shape[-1]))
    say_earlier(out, {*names, "sheet.png"})
    print(f"{counted(len(paths), 'reconstruction')}: {out}, below their images in {out / 'sheet.png'}")


def _encode(model: "IntroVAE", paths: Sequence[Path], out: Path, _: int) -> None:
    import io

    import numpy as np
    import torch

    from introvae.files import write_atomically

    parts = [model.encode(batch) for _, batch in _batches(model, paths)]
    mu, logvar = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    make_folder(out)
    buffer = io.BytesIO()
    np.savez(buffer, mu=mu, logvar=logvar, files=np.array([str(path) for path in paths]))
    write_atomically(out / "latents.npz", buffer.getvalue())
    print(f"{counted(len(paths), 'image')}: mu and logvar {mu.shape} in {out / 'latents.npz'}")


def _interpolate(model: "IntroVAE", paths: Sequence[Path], out: Path, n: int) -> None:
    import torch

    from introvae.runs.pictures import lay_out, legible, write_png

    ((_, batch),) = _batches(model, paths)
    first, last = model.encode(batch)[0]
    images = model.decode(torch.lerp(first, last, torch.linspace(0, 1, n, device=first.device)[:, None])).cpu()
    make_output(out)
    names = [f"{index:03d}.png" for index in range(n)]
    for name, image in zip(names, images, strict=True):
        write_png(out / name, lay_out(image[None, None]))
    row = torch.cat([batch[:1], images, batch[1:]])[None]
    write_png(out / "sheet.png", legible(lay_out(row), row.shape[-1]))
    say_earlier(out, {*names, "sheet.png"})
    print(f"{n} images: {out}, between the two given ones in {out / 'sheet.png'}")


def _batches(model: "IntroVAE", paths: Sequence[Path]) -> Iterator[tuple[Sequence[Path], "Tensor"]]:
    """Read images as the model takes them, (N, C, S, S) in [0, 1], with their paths."""
    import torch

    from introvae.data.convert import as_images
    from introvae.data.formats import open_image
    from introvae.data.pixels import UNREADABLE

    encoder = model.encoder
    for first in range(0, len(paths), BATCH):
        part, read = paths[first : first + BATCH], []
        for path in part:
            try:
                with open_image(path) as image:
                    read.append(as_images(image, encoder.channels, encoder.image_size, encoder.fit, encoder.white))
            except UNREADABLE as error:
                reason = str(error).removeprefix(f"cannot identify image file {str(path)!r}") or "no image"
                reason = (error.strerror if isinstance(error, OSError) else None) or reason
                raise UserError(f"cannot read {path}: {reason}") from error
        yield part, torch.cat(read)


if __name__ == "__main__":
    raise SystemExit(main())
