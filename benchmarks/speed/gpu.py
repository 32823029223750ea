"""All that needs a GPU, in one command: tests, a step's cost, and trainings, each with its output in a file.

    python benchmarks/speed/gpu.py --out FOLDER [--data FACES]     # takes about a quarter of an hour
    python benchmarks/speed/gpu.py --out FOLDER --smoke            # everything once, tiny and on the CPU

FOLDER/machine.txt names the card; copy its figures to docs/results.md with that name. At 128 and 256 px steps are
measured on the images of --data, since the built-in ones are smaller. A part that fails is named at the end, and the
exit code is 1 then; the others run all the same.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
TINY = [
    *("--widths", "8,8", "--latent", "8", "--batch-size", "8", "--steps", "24", "--warmup-steps", "12"),
    *("--log-every", "4"),
]  # fmt: skip
MODES = {"fp32": [], "bf16": ["--precision", "bf16"], "compiled": ["--precision", "bf16", "--compile"]}


def parts(out: Path, data: str | None, smoke: bool) -> dict[str, list[str]]:
    """Return the commands by name."""
    device = ["--device", "cpu" if smoke else "cuda"]
    train, sweep, torchrun = (str(BIN / name) for name in ("introvae-train", "introvae-sweep", "torchrun"))
    found = {"tests": [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(HERE.parents[1] / "tests")]}
    sizes = [16] if smoke else [64, 128, 256]
    for size in sizes:
        rounds = ["--rounds", "1", "--latent", "8"] if smoke else ["--rounds", "4", "--steps", "2"]
        rounds += ["--processes", "1"]  # each has a share of the card's memory
        found[f"step-{size}px"] = [sys.executable, str(HERE / "step.py"), "--image-size", str(size), *device, *rounds]
        if size > 64 and not data:
            continue
        for mode, flags in list(MODES.items())[: 1 if smoke else None]:
            words = [train, "--dry-run", "--data", data or "orl-faces", "--image-size", str(size), *device, *flags]
            found[f"cost-{size}px-{mode}"] = words + (TINY if smoke else [])
    once = ["--image-size", "16", *TINY] if smoke else ["--image-size", "32"]
    trials = ["--trials", "2", "--workers", "1"] if smoke else ["--trials", "16", "--workers", "4"]
    found["trials"] = [sweep, *trials, *once, *device, "--out", str(out), "--study", "trials"]
    one = ["--nproc-per-node", "1", "--no-python", train, "--"]
    found["torchrun"] = [torchrun, *one, *once, "--beta", "20", "--m", "40", *device, "--out", str(out / "torchrun")]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for outputs and runs")
    parser.add_argument("--data", metavar="FACES", help="images of 256 px or more, as introvae-train takes them")
    parser.add_argument("--smoke", action="store_true", help="everything once, tiny and on the CPU")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA"
    (args.out / "machine.txt").write_text(f"{card}, PyTorch {torch.__version__}\n")
    failed = []
    for name, words in parts(args.out.resolve(), args.data, args.smoke).items():
        begin = time.monotonic()
        with (args.out / f"{name}.txt").open("w") as file:
            code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        print(f"{name}: exit code {code} after {time.monotonic() - begin:.0f} s", flush=True)
        failed += [name] if code else []
    if failed:
        print(f"failed: {', '.join(failed)}; see the files of these names in {args.out}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
