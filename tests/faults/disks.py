"""Small disks that can be filled, and one that loses power. They need `private_mounts`: nobody else sees them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Self

#: ext4's way to lose power: nothing that was not flushed reaches the disk (include/uapi/linux/ext4.h)
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = 2
MIB = 1 << 20
_CLONE_NEWNS = 0x00020000


def have_private_mounts() -> None:
    """Give this process and its children a view of the mounts of their own: nothing mounted here is seen outside.

    Raises
    ------
    OSError
        When the kernel does not let us: it needs root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "no mount namespace of our own (it needs root)")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class SmallDisk:
    """A tmpfs at a folder."""

    def __init__(self, folder: Path, size_mib: int) -> None:
        self.folder = folder
        self._size_mib = size_mib
        self._filler = folder / ".filler"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._size_mib}m", "small", str(self.folder)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)

    def fill(self, leave_bytes: int = 0) -> None:
        """Write until only so much is left."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while self.free > leave_bytes + size - 1:
                        os.write(file.fileno(), b"x" * size)

    def empty(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    @property
    def free(self) -> int:
        """Bytes that are left."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize


class PowerCut:
    """An ext4 on a file of its own, whose power can be cut at any moment."""

    def __init__(self, folder: Path, size_mib: int = 256) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".img")
        self._size_mib = size_mib

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(self._size_mib * MIB)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(self._image)], check=True)
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._umount()

    def power_on(self) -> None:
        """Mount it: what had been flushed is there again."""
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.folder)], check=True)

    def sync(self) -> None:
        """Flush everything."""
        subprocess.run(["sync", "--file-system", str(self.folder)], check=True)

    def cut(self) -> None:
        """Lose everything that was not flushed, and every write from now on."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        finally:
            os.close(descriptor)

    def off(self) -> None:
        """Let go of it, once nobody uses it any more."""
        self._umount()

    def _umount(self) -> None:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.folder)], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            if not self.folder.is_mount() or time.monotonic() > deadline:
                return
            time.sleep(0.05)  # a helper of the dead is still on its way out
