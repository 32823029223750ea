"""Batches of an image set as a function of (seed, step)."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from introvae.data.image_set import to_float
from introvae.data.pixel_cache import ImageRows, Images
from introvae.randomness import generator


class Batches:
    """Batches of an image set, each a function of (seed, step).

    Each epoch is a permutation of the images. A batch may span epochs, so each epoch has every image exactly once.
    Images that are not on the device are streamed: while it computes, a thread gathers the batch of the next step.

    Args:
        images: uint8 images (N, C, S, S).
        batch_size: Number of images per batch; may be more than N.
        mirror: Mirror each image with probability 1/2.
        device: Device of the batches.
    """

    def __init__(self, images: Images, batch_size: int, mirror: bool, device: torch.device) -> None:
        self.source: _Resident | _Stream
        if isinstance(images, Tensor) and images.device.type == device.type:
            self.source = _Resident(images, batch_size, mirror)
        else:
            rows = images if isinstance(images, ImageRows) else ImageRows(images.numpy())
            self.source = _Stream(rows, batch_size, mirror, device)

    def __call__(self, seed: int, step: int) -> Tensor:
        """Return float images (batch_size, C, S, S) in [0, 1] on the device."""
        return to_float(self.source(seed, step))


class _Order:
    """Indices of the images in a batch (N,), and a mask (N, 1, 1, 1) of the mirrored ones; drawn epoch by epoch."""

    def __init__(self, count: int, batch_size: int, device: torch.device) -> None:
        self.count, self.batch_size, self.device = count, batch_size, device
        self._drawn: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        epoch, first = divmod(step * self.batch_size, self.count)
        last = first + self.batch_size
        if last <= self.count:
            order, coins = self._epoch(seed, epoch)
        else:
            epochs = [self._epoch(seed, e) for e in range(epoch, epoch + (last - 1) // self.count + 1)]
            order, coins = (torch.cat(parts) for parts in zip(*epochs, strict=True))
        return order[first:last], coins[first:last]

    def _epoch(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        key = (seed, epoch)
        if key not in self._drawn:
            order = torch.randperm(self.count, generator=generator(seed, "order", epoch))
            coins = torch.rand((self.count, 1, 1, 1), generator=generator(seed, "mirror", epoch)) < 0.5
            kept = {k: drawn for k, drawn in self._drawn.items() if k[0] == seed and k[1] >= epoch - 1}
            self._drawn = kept | {key: (order.to(self.device), coins.to(self.device))}
        return self._drawn[key]


class _Resident:
    """uint8 batches of a tensor on the device."""

    def __init__(self, images: Tensor, batch_size: int, mirror: bool) -> None:
        self.images, self.mirror = images, mirror
        self.order = _Order(len(images), batch_size, images.device)

    def __call__(self, seed: int, step: int) -> Tensor:
        order, coins = self.order(seed, step)
        x = self.images.index_select(0, order)
        return torch.where(coins, x.flip(-1), x) if self.mirror else x


class _Stream:
    """uint8 batches, on the device, of images elsewhere; each is valid until the next call.

    One thread gathers all batches in the order of requests; after a wrong guess of the next (seed, step) it gathers
    the right one. The thread ends with this object, as nothing that it refers to refers back.
    """

    def __init__(self, images: ImageRows, batch_size: int, mirror: bool, device: torch.device) -> None:
        self.images, self.mirror, self.device = images, mirror, device
        self.order = _Order(len(images), batch_size, torch.device("cpu"))
        self.cuda = device.type == "cuda"
        shape = (batch_size, *images.shape[1:])
        self.buffers = [torch.empty(shape, dtype=torch.uint8, pin_memory=self.cuda) for _ in range(2)]
        self.copied = [torch.cuda.Event() for _ in self.buffers] if self.cuda else []
        self.thread = ThreadPoolExecutor(1, "batches")
        self.slot = 0
        self.ahead: tuple[int, int] | None = None
        self.gathered: Future[int] = Future()

    def __call__(self, seed: int, step: int) -> Tensor:
        if self.ahead != (seed, step):
            self._prepare(seed, step)
        slot = self.gathered.result()
        x = self.buffers[slot].to(self.device, non_blocking=self.cuda)
        if self.cuda:
            self.copied[slot].record(torch.cuda.current_stream(self.device))
        self.slot = 1 - slot
        self._prepare(seed, step + 1)
        return x

    def _prepare(self, seed: int, step: int) -> None:
        self.ahead = (seed, step)
        self.gathered = self.thread.submit(self._gather, seed, step, self.slot)

    def _gather(self, seed: int, step: int, slot: int) -> int:
        if self.cuda:
            self.copied[slot].synchronize()  # the device may still be reading the buffer
        order, coins = (drawn.numpy() for drawn in self.order(seed, step))
        pixels = self.buffers[slot].numpy()  # NumPy stays in this thread; torch would start several
        self.images.gather(order, pixels)
        if self.mirror:
            mirrored = coins.reshape(-1)
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        return slot
