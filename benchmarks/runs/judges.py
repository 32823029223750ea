"""Judges of real runs that the score is not built from, and how far the score agrees with them.

    pip install --no-deps face_recognition_models==0.3.0 facenet-pytorch==2.6.0
    python benchmarks/runs/judges.py SNAPSHOTS --data orl-faces --image-size 32 --out judged
    python benchmarks/runs/judges.py ORL LFW --data orl-faces FOLDER --image-size 32 64 --out again --judged judged.csv
    python benchmarks/runs/judges.py docs/judged.csv                         # the tables again, without snapshots

Snapshots of faces as `benchmarks/runs/snapshots.py` makes them are judged in the features of two networks:
`recognition` is the residual network by which dlib tells people apart, and `detection` the last stage of MTCNN, which
tells faces from other things. Both packages hold their weights. For each network:

- reach: mean distance of a real face to the nearest other real face, over that to the nearest sample
- own: median distance of a reconstruction to real faces, over that to its own input
- the judge itself, by the name of the network: the geometric mean of reach and own
- coverage (Naeem et al. 2020, 5 neighbors) and kid (unbiased, less is better) of samples, and retrieval (mean
  reciprocal rank of the own input), as others measure them, to compare with

OUT.csv has a row for each snapshot; --judged takes what judges said from such files, which no network is needed for.
Then Spearman's correlation of the score with each judge is printed, ranks being taken within a data set, and for the
last column within a step of training, too; 95% intervals are from a bootstrap over settings. A second table has the
same of each part of the score. OUT.png shows both judges.

A snapshot folder may hold the validation images of its runs in real.npy, in case data have been split again since.
"""

import argparse
import math
import re
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from snapshots import read_snapshot
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from analysis.measures.score import score_images
from introvae.data.image_set import load_images, to_float
from introvae.data.pixel_cache import evenly
from introvae.runs.record import PARTS

Embed = Callable[[Tensor], Tensor]  # uint8 images (N, C, S, S) to features (N, D)

NETWORKS = ("recognition", "detection")
MEASURES = ("reach", "own", "coverage", "kid", "retrieval")
JUDGES = (*NETWORKS, *(f"{network}_{measure}" for network in NETWORKS for measure in MEASURES))
NEIGHBORS = 5
RESAMPLES = 1000
DLIB = "dlib_face_recognition_resnet_model_v1.dat"
MEAN_COLOR = (122.782, 117.001, 104.298)  # which dlib subtracts
BLOCKS, HALVED = 14, {3, 7, 10, 13}  # residual blocks, and those that halve the side
TIGHT = 1.1  # part of a picture that MTCNN is shown, as its faces fill their frames


def recognition() -> Embed:
    """Return dlib's embedding of whole pictures, computed by PyTorch, which takes a tenth of the time."""
    weights = _dlib_weights()

    def embed(images: Tensor) -> Tensor:
        rest = iter(weights)

        def unit(x: Tensor, stride: int) -> Tensor:
            filters, (scale, shift) = next(rest), next(rest).view(2, -1, 1, 1)
            bias, kernels = filters[-len(scale) :], filters[: -len(scale)].view(len(scale), x.shape[1], -1)
            side = math.isqrt(kernels.shape[2])
            y = F.conv2d(x, kernels.unflatten(2, (side, side)), bias, stride, side // 2 if stride == 1 else 0)
            return y * scale + shift

        x = (_enlarged(images, 150) - torch.tensor(MEAN_COLOR).view(3, 1, 1)) / 256
        x = F.max_pool2d(unit(x, 2).relu(), 3, 2)
        for block in range(BLOCKS):
            stride = 2 if block in HALVED else 1
            parts = unit(unit(x, stride).relu(), 1), F.avg_pool2d(x, 2) if stride == 2 else x
            x = x.new_zeros([max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True)])
            for part in parts:
                x[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
            x = x.relu()
        return x.mean((2, 3)) @ next(rest).view(x.shape[1], -1)

    return embed


def _dlib_weights() -> list[Tensor]:
    """Read the weights of convolutions, affine maps and the last matrix, in the order of their use."""
    found = find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("judges need pip install --no-deps face_recognition_models==0.3.0 facenet-pytorch==2.6.0")
    blob = bytearray((Path(found.submodule_search_locations[0]) / "models" / DLIB).read_bytes())
    weights, at = [], 0
    while layer := re.compile(rb"con_4|affine_|fc_2").search(blob, at):
        at, numbers = layer.end(), []
        for _ in range(7 if layer.group() == b"fc_2" else 5):  # the last four are the shape
            size = blob[at] + 1  # a byte tells how many follow
            numbers.append(int.from_bytes(blob[at + 1 : at + size], "little"))
            at += size
        weights.append(torch.frombuffer(blob, dtype=torch.float32, count=math.prod(numbers[-4:]), offset=at))
        at += 4 * len(weights[-1])
    return weights


def detection() -> Embed:
    """Return the last hidden layer of MTCNN's last stage."""
    from facenet_pytorch.models.mtcnn import ONet

    net, kept = ONet().eval(), []
    net.dense6_1.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))

    def embed(images: Tensor) -> Tensor:
        side = round(48 * TIGHT)
        edge = (side - 48) // 2
        net((_enlarged(images, side)[..., edge : edge + 48, edge : edge + 48] - 127.5) / 128)
        return kept.pop()

    return embed


def _enlarged(images: Tensor, side: int) -> Tensor:
    """Enlarge to RGB in 0 to 255."""
    colored = images.float().expand(-1, 3, -1, -1)
    return F.interpolate(colored, (side, side), mode="bicubic", antialias=True).clamp(0, 255)


@torch.no_grad()
def features(embed: Embed, images: Tensor) -> Tensor:
    return torch.cat([embed(batch) for batch in images.split(16)]).double()


def judge(real: Tensor, reconstructions: Tensor, samples: Tensor) -> dict[str, float]:
    """Measure features of reconstructions, whose inputs are evenly spaced among the real ones, and of samples."""
    inputs = evenly(real, len(reconstructions))
    among = torch.cdist(real, real).fill_diagonal_(math.inf).sort().values
    to_samples, to_inputs = torch.cdist(real, samples), torch.cdist(reconstructions, inputs)
    own = to_inputs.diagonal()
    scale = real.std() * real.shape[1] ** 0.5
    reach = among[:, 0].mean() / to_samples.min(1).values.mean()
    closeness = 1 / (own / to_inputs.median(1).values).mean()
    found = {
        "": (reach * closeness).sqrt(),
        "_reach": reach,
        "_own": closeness,
        "_coverage": (to_samples.min(1).values < among[:, NEIGHBORS - 1]).double().mean(),
        "_kid": kid(real / scale, samples / scale),
        "_retrieval": (1 / (to_inputs <= own[:, None]).sum(1)).mean(),
    }
    return {name: float(value) for name, value in found.items()}


def kid(x: Tensor, y: Tensor) -> Tensor:
    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = similarity(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * similarity(x, y).mean()


def judge_folder(folder: Path, data: str, image_size: int, judged: pd.DataFrame) -> pd.DataFrame:
    """Score the snapshots of a folder, and ask the judges about those that are not in `judged` as they are now."""
    kept = folder / "real.npy"
    real = torch.from_numpy(np.load(kept)) if kept.exists() else load_images(data, image_size).validation[:].cpu()
    networks: dict[str, tuple[Embed, Tensor]] = {}
    rows = []
    for path in tqdm(sorted(folder.glob("*-*.npz")), desc=folder.name):
        made = read_snapshot(path)
        scores = score_images(to_float(evenly(real, len(made[0]))), *map(to_float, made))
        crc = zlib.crc32(b"".join(images.numpy().tobytes() for images in (real, *made)))
        row = {"data": f"{Path(data).name}, {image_size} px", "name": path.stem, "crc": crc}
        row["step"] = int(path.stem.rpartition("-")[2])
        row |= {name: getattr(scores, name) for name in ("score", *PARTS)}
        if crc in judged.index:
            row |= {name: judged.at[crc, name] for name in JUDGES}
        else:
            for name, make in zip(NETWORKS, (recognition, detection), strict=True):
                if name not in networks:
                    embed = make()
                    networks[name] = embed, features(embed, real)
                embed, known = networks[name]
                found = judge(known, *(features(embed, images) for images in made))
                row |= {name + measure: value for measure, value in found.items()}
        rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty or table["informativeness"].max() < 0.5:
        raise SystemExit(f"{folder}: no snapshots, or their reconstructions are of other images than the real ones")
    return table


def agreements(table: pd.DataFrame, score: str = "score") -> pd.DataFrame:
    """Return Spearman's correlation of the score, or a part, with each judge, for each data set and pooled."""
    columns = [score, *JUDGES]
    signed = table[columns] * [-1 if column.endswith("_kid") else 1 for column in columns]

    def ranks(*by: str) -> pd.DataFrame:
        groups = signed.groupby([table[column] for column in by])
        return groups.rank().sub(0.5).div(groups[score].transform("size"), axis=0) - 0.5

    overall, in_step = ranks("data"), ranks("data", "step")
    parts = {str(name): overall[table["data"] == name] for name in sorted(table["data"].unique())}
    parts |= {"pooled": overall, "same step": in_step}
    return pd.DataFrame({name: part[list(JUDGES)].corrwith(part[score]) for name, part in parts.items()})


def resampled(table: pd.DataFrame, g: np.random.Generator) -> pd.DataFrame:
    """Draw settings with replacement from each data set; the snapshots of a run depend on each other."""
    settings = table["name"].str.replace(r"(-seed\d+)?-\d+$", "", regex=True)
    rows = [part.index.to_numpy() for _, part in table.groupby([table["data"], settings])]
    owners = np.array([table.loc[part[0], "data"] for part in rows])
    drawn = np.concatenate(
        [g.choice(np.flatnonzero(owners == name), (owners == name).sum()) for name in np.unique(owners)]
    )
    return table.loc[np.concatenate([rows[i] for i in drawn])].reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="snapshots of one data set each, or the table of such")
    parser.add_argument("--data", nargs="+", default=["orl-faces"], help="of each folder, as introvae-train takes it")
    parser.add_argument("--image-size", type=int, nargs="+", default=[32], metavar="N", help="of each folder, pixels")
    parser.add_argument("--judged", type=Path, nargs="*", default=[], help="tables of this script to take judges from")
    parser.add_argument("--out", type=Path, default=Path("judges"), help="name of both files, without suffix [judges]")
    args = parser.parse_args()
    if args.folders[0].suffix == ".csv":
        table = pd.read_csv(args.folders[0])
    elif not len(args.folders) == len(args.data) == len(args.image_size):
        parser.error("each folder has its --data and its --image-size")
    else:
        old = [pd.read_csv(path) for path in args.judged]
        judged = pd.concat([pd.DataFrame(columns=["crc"]), *old]).drop_duplicates("crc", keep="last").set_index("crc")
        folders = zip(args.folders, args.data, args.image_size, strict=True)
        table = pd.concat([judge_folder(*folder, judged) for folder in folders], ignore_index=True)
        table.to_csv(args.out.with_suffix(".csv"), index=False, float_format="%.5g")

    g = np.random.default_rng(0)
    found = agreements(table)
    draws = np.stack([agreements(resampled(table, g)).to_numpy() for _ in tqdm(range(RESAMPLES), desc="bootstrap")])
    low, high = np.nanquantile(draws, (0.025, 0.975), axis=0)
    print(f"| {len(table)} snapshots | {' | '.join(found.columns)} |\n|{'---|' * (1 + found.shape[1])}")
    for i, (name, row) in enumerate(found.iterrows()):
        cells = (f"{value:.2f} [{low[i, j]:.2f}, {high[i, j]:.2f}]" for j, value in enumerate(row))
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| pooled | {' | '.join(NETWORKS)} |\n|---|---|---|")
    for part in ("score", *PARTS):
        print(
            f"| {part} | {' | '.join(f'{value:.2f}' for value in agreements(table, part)['pooled'][list(NETWORKS)])} |"
        )

    mpl.use("agg")
    long = table.melt(["data", "score"], NETWORKS, "judge", "verdict")
    grid = sns.relplot(long, x="score", y="verdict", hue="data", col="judge", facet_kws={"sharey": False})
    grid.savefig(args.out.with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
