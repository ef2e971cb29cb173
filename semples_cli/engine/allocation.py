"""Memory of large tensors on the CPU: kept by the process from one batch to the next."""

import ctypes
import os
import sys

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK, _ALWAYS = 2**30, 2**31 - 1


def keep_freed_memory() -> bool:
    """Have the C library keep what tensors give back, for the next ones of their size.

    glibc returns blocks of 32 MB and more to the system as soon as they are free, and gets new ones page by page,
    filled with zeros. A batch at 512 pixels has many such blocks, and a tenth of the time of its CAMs went there
    (docs/performance.md). The setting is the whole process's: it keeps the memory of its largest batch. Where the user
    has said otherwise by GLIBC_TUNABLES, MALLOC_MMAP_… or MALLOC_TRIM_…, and with other C libraries, nothing changes.

    Returns:
        Whether it does so now.
    """
    if sys.platform != "linux" or _user_has_said():
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and library.mallopt(_M_TRIM_THRESHOLD, _ALWAYS))


def _user_has_said() -> bool:
    in_variables = any(name.startswith(("MALLOC_MMAP_", "MALLOC_TRIM_")) for name in os.environ)
    return in_variables or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
