"""Writes tars for tests: members as (name, bytes), in any of tarfile's formats, and headers that no tool writes."""

import io
import tarfile

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def write_tar(path, members, form="pax", prefix=""):
    """A tar of members in their order; a repeated name is written twice."""
    with tarfile.open(path, "w", format=FORMATS[form]) as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    """A member that is no file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def header(name, size, kind=b"0"):
    """One 512-byte header with any size field: a number, or the 12 bytes themselves."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field + b"00000000000\0"
    head = bytearray((fields + b" " * 8 + kind).ljust(257, b"\0") + b"ustar\x0000")
    head = bytearray(bytes(head).ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def block(content):
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % 512)
