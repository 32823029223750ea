"""Image files by the byte, as no library writes them."""

import struct
import zlib
from typing import Literal

import numpy as np

SIDE = 16


def png(values: np.ndarray, bits: int, color: int = 0, transparent: int | None = None) -> bytes:
    """Write values (SIDE, SIDE) or (SIDE, SIDE, C) with a number of bits, and with a transparent gray value."""
    rows = values.astype(">u2") if bits == 16 else values.astype(np.uint8)
    packed = rows.reshape(SIDE, -1).view(np.uint8)
    if bits < 8:
        packed = np.packbits((packed[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(SIDE, -1), 1)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, bits, color, 0, 0, 0))]
    parts += [] if transparent is None else [(b"tRNS", struct.pack(">H", transparent))]
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in parts]
    return bytes.fromhex("89504e470d0a1a0a") + b"".join(chunks)


def tiff(values: np.ndarray, *tags: tuple[int, int], order: Literal["<", ">"]) -> bytes:
    """Write values (SIDE, SIDE) as a TIFF, with whole numbers as further tags."""
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    known = {256: SIDE, 257: SIDE, 258: values.dtype.itemsize * 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE}
    entries = sorted((known | {279: len(data)} | dict(tags)).items())
    body = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return head + data + struct.pack(order + "H", len(entries)) + body + bytes(4)
