"""Segments: the memory-mapped files that processes share, one per process and incarnation.

The supervisor makes a segment and removes it; one process writes it; everybody else maps it without
the right to write, so that a stray write faults whoever does it. Plain files on a tmpfs, on purpose:
Python's SharedMemory lets any tool that looks at a segment destroy it on exit.
"""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from trader.clock import boottime_ns
from trader.codes import Role
from trader.errors import LayoutMismatch, SegmentMissing, StateError
from trader.state import header as headers
from trader.state.header import Header
from trader.state.layout import PlacedSlot, Words, segment_layout
from trader.state.owner import is_alive, process_started
from trader.state.slots import Ring, SlotReader, SlotWriter, Word

T = TypeVar("T")


class Segment:
    """One mapped segment; made by `create` or `attach`."""

    def __init__(self, path: Path, header: Header, words: Words, meta: dict[str, Any], inode: int) -> None:
        self.path = path
        self.header = header
        self.meta = meta
        self.inode = inode
        self.layout = segment_layout(header.role, header.n_symbols)
        #: the body, for `latch`; not writable when mapped read-only
        self.words = words

    @classmethod
    def create(
        cls, path: Path, *, role: Role | str, generation: int, n_symbols: int, run_id: str, meta: dict[str, Any]
    ) -> Self:
        """Make a segment, mapped for writing.

        Parameters
        ----------
        path : Path
            Where; must not exist.
        role : Role or str
            The process that will write it.
        generation : int
            Incarnation of that process, counted from 1.
        n_symbols : int
            Symbols that the engine trades; other roles have 0.
        run_id : str
            Names this run of the service, at most 64 bytes.
        meta : dict
            Names for readers: symbols, strategies, mode, timeframe, quote, instance. JSON.

        Returns
        -------
        Segment
            Empty: its slots are unreadable until something is published.

        Raises
        ------
        StateError
            When the file exists or can't be made.
        ValueError
            When an argument has no room in the header.
        """
        text = headers.encode_meta(meta)
        header = _new_header(as_role(role), generation, n_symbols, run_id, text)
        encoded = headers.encode(header)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{path}: the segment can not be made: {error.strerror}") from error
        finished = False
        try:
            # Reserved now: a full tmpfs is an error here, and SIGBUS at the first write otherwise.
            os.posix_fallocate(descriptor, 0, header.total_bytes)
            os.pwrite(descriptor, text, headers.PAGE)
            words = _map(descriptor, header, writable=True)
            os.pwrite(descriptor, encoded, 0)
            inode = os.fstat(descriptor).st_ino
            finished = True
        except OSError as error:
            raise StateError(f"{path}: {header.total_bytes} bytes can not be had: {error.strerror}") from error
        finally:
            os.close(descriptor)
            if not finished:
                path.unlink(missing_ok=True)
        return cls(path, header, words, meta, inode)

    @classmethod
    def attach(
        cls,
        path: Path,
        *,
        writable: bool = False,
        role: Role | str | None = None,
        run_id: str | None = None,
        generation: int | None = None,
    ) -> Self:
        """Map an existing segment, read-only unless told.

        Parameters
        ----------
        path : Path
            The file.
        writable : bool
            For the one process that writes it.
        role : Role or str, optional
            Refuse a segment of another role.
        run_id : str, optional
            Refuse a segment of another run.
        generation : int, optional
            Refuse a segment of another incarnation.

        Returns
        -------
        Segment
            A segment of this program's own layout.

        Raises
        ------
        SegmentMissing
            When there is no such file.
        LayoutMismatch
            When it is not exactly what was expected; says what was found.
        """
        descriptor = _open(path, writable=writable)
        try:
            status = os.fstat(descriptor)
            _check_file(path, status)
            header = headers.decode(os.pread(descriptor, headers.HEADER_BYTES, 0), path)
            _check_size(path, header, status.st_size)
            _check_wanted(path, header, role, run_id, generation)
            meta = headers.decode_meta(os.pread(descriptor, header.meta_bytes, headers.PAGE), header, path)
            words = _map(descriptor, header, writable=writable)
        finally:
            os.close(descriptor)
        return cls(path, header, words, meta, status.st_ino)

    @property
    def role(self) -> Role:
        """The process that writes it."""
        return self.header.role

    @property
    def generation(self) -> int:
        """Incarnation of that process."""
        return self.header.generation

    @property
    def run_id(self) -> str:
        """The run of the service that it belongs to."""
        return self.header.run_id

    @property
    def n_symbols(self) -> int:
        """How many symbols its slots have room for."""
        return self.header.n_symbols

    @property
    def writable(self) -> bool:
        """Whether it was mapped for writing."""
        return bool(self.words.flags.writeable)

    def owner_alive(self) -> bool:
        """Return whether the process that made the segment still lives."""
        return is_alive(self.header.owner_pid, self.header.owner_started)

    def slot(self, name: str) -> PlacedSlot:
        """Return where a slot is.

        Parameters
        ----------
        name : str
            Name in the layout.

        Returns
        -------
        PlacedSlot
            Its place in `words`.

        Raises
        ------
        KeyError
            When the role's layout has no such slot.
        """
        return self._placed(self.layout.slots, name, "slot")

    def writer(self, name: str) -> SlotWriter:
        """Return a writer of a slot."""
        self._must_be_writable(f"slot {name}")
        return SlotWriter(self.words, self.slot(name))

    def reader(self, name: str) -> SlotReader:
        """Return a reader of a slot."""
        return SlotReader(self.words, self.slot(name), f"slot {name} of {self.path}")

    def word(self, name: str) -> Word:
        """Return a word."""
        return Word(self.words, self._placed(self.layout.words, name, "word").offset)

    def ring(self, name: str) -> Ring:
        """Return a ring."""
        return Ring(self.words, self._placed(self.layout.rings, name, "ring"))

    def unlink(self) -> None:
        """Remove the file; whoever has it mapped keeps what is mapped."""
        self.path.unlink(missing_ok=True)

    def _must_be_writable(self, what: str) -> None:
        if not self.writable:
            raise StateError(f"{what} of {self.path}: the segment is mapped read-only here; only its owner writes")

    def _placed(self, places: dict[str, T], name: str, kind: str) -> T:
        try:
            return places[name]
        except KeyError:
            raise KeyError(f"a segment of the {self.role.name.lower()} has no {kind} {name!r}") from None


def clear_segments(folder: Path) -> int:
    """Remove the segments that a service which died left behind; return how many there were.

    Only for who holds the instance's lock: a running service would lose its readers.
    """
    stale = list(folder.glob("seg-*.shm"))
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def as_role(role: Role | str) -> Role:
    """Return the role that a name such as "engine" names."""
    return role if isinstance(role, Role) else Role[role.upper()]


def _new_header(role: Role, generation: int, n_symbols: int, run_id: str, meta: bytes) -> Header:
    layout = segment_layout(role, n_symbols)
    start = headers.body_offset(len(meta))
    pid = os.getpid()
    return Header(
        role=role,
        generation=generation,
        n_symbols=n_symbols,
        run_id=run_id,
        owner_pid=pid,
        owner_started=process_started(pid) or 0,
        created_ns=boottime_ns(),
        total_bytes=start + layout.total_words * 8,
        body_offset=start,
        meta_bytes=len(meta),
        meta_crc=zlib.crc32(meta),
        layout_hash=layout.fingerprint,
    )


def _map(descriptor: int, header: Header, *, writable: bool) -> Words:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    mapped = mmap.mmap(descriptor, header.total_bytes, flags=mmap.MAP_SHARED, prot=protection)
    # The array keeps the map alive, and slots and readers keep the array: nothing is unmapped under them.
    return np.frombuffer(mapped, np.int64, offset=header.body_offset)


def _open(path: Path, *, writable: bool) -> int:
    try:
        return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SegmentMissing(f"{path}: no such segment; its process is not running") from None
    except OSError as error:
        if path.is_symlink():
            raise LayoutMismatch(f"{path}: is a symbolic link, expected a segment") from error
        raise StateError(f"{path}: the segment can not be opened: {error.strerror}") from error


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise LayoutMismatch(f"{path}: is no plain file, expected a segment")
    # Root may look at a service user's segments, but in nobody's folder may a file be planted by another.
    try:
        folder_owner = path.parent.stat().st_uid
    except FileNotFoundError:
        raise SegmentMissing(f"{path}: its folder was removed just now; the service has stopped") from None
    if status.st_uid != folder_owner or os.geteuid() not in (status.st_uid, 0):
        raise LayoutMismatch(
            f"{path}: belongs to user {status.st_uid}, expected user {folder_owner}, whose folder it is in, "
            f"and to be read by that user or root, not by user {os.geteuid()}"
        )
    if status.st_mode & 0o022:
        raise LayoutMismatch(f"{path}: has mode {stat.S_IMODE(status.st_mode):04o}, others could write; expected 0600")


def _check_size(path: Path, header: Header, size: int) -> None:
    if size != header.total_bytes:
        raise LayoutMismatch(f"{path}: has {size} bytes, its header says {header.total_bytes}")


def _check_wanted(
    path: Path, header: Header, role: Role | str | None, run_id: str | None, generation: int | None
) -> None:
    if role is not None and header.role is not as_role(role):
        raise LayoutMismatch(
            f"{path}: is a segment of the {header.role.name.lower()}, expected the {as_role(role).name.lower()}'s"
        )
    if run_id is not None and header.run_id != run_id:
        raise LayoutMismatch(f"{path}: belongs to run {header.run_id!r}, expected {run_id!r}")
    if generation is not None and header.generation != generation:
        raise LayoutMismatch(f"{path}: is of generation {header.generation}, expected {generation}")
