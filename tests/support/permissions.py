"""Permission bits that bind root too: they do in this thread inside `bound_by_permissions`."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

VERSION_3 = 0x20080522
OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)  # 0: the calling thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; for capabilities 0 to 31, then 32 to 63

    def call(name: str) -> None:
        if getattr(libc, name)(header, sets):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)

    call("capget")
    effective = sets[0]
    sets[0] &= ~OVERRIDES
    call("capset")
    try:
        yield
    finally:
        sets[0] = effective
        call("capset")
