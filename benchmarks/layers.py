"""Layers of the score's network, by how far they see in samples what independent judges see.

    python benchmarks/layers.py SNAPSHOTS --judged docs/judged-study.csv --data FOLDER --image-size 32 --out layers

For each block of EfficientNet-Lite0 the samples of every snapshot (`benchmarks/snapshots.py`) are compared with real
images, as they are and blurred to the samples' sharpness as the score's `structure` does it, by the unbiased kernel
distance of features averaged over places. OUT.csv has Spearman's correlation of less distance with what the judges
(`benchmarks/judges.py`) said of the same snapshots.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from judges import kid
from torch import Tensor
from tqdm import tqdm

from analysis.measures.features import BATCH, block_outputs, standardized
from analysis.measures.neighbors import blurred_like
from introvae.data.image_set import load_images, to_float

BLOCKS = (0, 2, 4, 6, 8, 10, 12, 15)
JUDGES = ("recognition_reach", "detection_reach", "recognition_coverage", "detection_coverage")


@torch.no_grad()
def by_block(images: Tensor) -> dict[int, Tensor]:
    """Return the features (N, D) of every block of BLOCKS."""
    found = {block: list[Tensor]() for block in BLOCKS}
    for part in images.split(BATCH):
        for block, x in enumerate(block_outputs(part)):
            if block in found:
                found[block].append(x.mean((2, 3)).double())
    return {block: torch.cat(parts) for block, parts in found.items()}


def distances(real: Tensor, plain: dict[int, Tensor], samples: Tensor) -> dict[tuple[str, int], float]:
    """Return the distance of samples at each block, by the kind of reference."""
    references = {"plain": plain, "blurred": by_block(blurred_like(real, samples))}
    made = by_block(samples)
    return {
        (kind, block): float(kid(*(x / x.shape[1] ** 0.5 for x in standardized(reference[block], made[block]))))
        for kind, reference in references.items()
        for block in BLOCKS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="snapshots")
    parser.add_argument("--judged", type=Path, required=True, help="what the judges said of them")
    parser.add_argument("--data", default="orl-faces", help="as introvae-train takes it")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels")
    parser.add_argument("--out", type=Path, default=Path("layers"), help="name of the table, without suffix [layers]")
    args = parser.parse_args()
    judged = pd.read_csv(args.judged).set_index("name")
    real = to_float(load_images(args.data, args.image_size).validation[:])
    plain = by_block(real)
    rows = {}
    for path in tqdm(sorted(args.folder.glob("*-*.npz"))):
        with np.load(path) as arrays:
            rows[path.stem] = distances(real, plain, to_float(torch.from_numpy(arrays["samples"])))
    found = -pd.DataFrame(rows).T
    ranks, said = found.rank(), judged.loc[found.index, list(JUDGES)].rank()
    table = pd.DataFrame({judge: ranks.corrwith(said[judge]) for judge in JUDGES})
    table.index.names = ["reference", "block"]
    table.to_csv(args.out.with_suffix(".csv"), float_format="%.3f")
    print(f"Spearman's correlation over {len(found)} snapshots")
    print(table.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
