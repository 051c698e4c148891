"""A real systemd to test in: boots in a second, and leaves nothing behind.

    with Box(shared_folder) as box:
        box.run("systemctl", "is-system-running")

Needs root, util-linux, systemd and dbus. The network is the machine's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

BOOT = Path(__file__).with_name("boot")
CHECKOUT = Path(__file__).parents[2]
BOOT_TIMEOUT_S = 60.0
PROGRAMS = ("unshare", "nsenter", "pivot_root", "systemctl", "dbus-daemon")


class BoxError(Exception):
    """The box can't be had, or a command in it failed."""


def obstacle() -> str | None:
    """Return why no box can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"missing: {', '.join(missing)} (apt-get install -y systemd dbus util-linux)" if missing else None


class Box:
    """A systemd in namespaces of its own.

    Parameters
    ----------
    shared : Path
        A folder that is the same inside and outside, read-write.
    """

    def __init__(self, shared: Path) -> None:
        self._shared = shared.resolve()
        self._folder = Path(tempfile.mkdtemp(prefix="trader-box-", dir="/var/tmp"))
        self._log = self._shared / "boot.log"
        self._holder: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._holder = subprocess.Popen(
                [str(BOOT), str(self._folder), str(self._shared), str(CHECKOUT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout_s: float = 120.0,
        cwd: Path | str = "/",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root.

        Parameters
        ----------
        *command : str
            Program and arguments.
        check : bool
            Raise when it fails.
        timeout_s : float
            How long it may take [s].
        cwd : Path or str
            Its folder, inside.
        env : mapping, optional
            More environment variables.

        Returns
        -------
        CompletedProcess
            With its output as text.

        Raises
        ------
        BoxError
            When it fails and `check` is set; with everything it wrote.
        """
        enter = ["nsenter", f"--target={self._init}", "--all", f"--wdns={cwd}", "--"]
        done = subprocess.run(
            [*enter, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **(env or {})},
        )
        if check and done.returncode != 0:
            raise BoxError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._holder is not None
            if self._holder.poll() is not None:
                raise BoxError(f"the box ended while it booted:\n{self._log.read_text(errors='replace')}")
            self._init = self._init or self._find_init()
            if self._init and self._is_up():
                return
            time.sleep(0.05)
        raise BoxError(f"systemd is not up after {BOOT_TIMEOUT_S:g} s:\n{self._log.read_text(errors='replace')}")

    def _find_init(self) -> int:
        """Return the systemd below our `unshare`, once there is one; 0 before."""
        assert self._holder is not None
        try:
            children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
            for child in children:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        except OSError:
            return 0
        return 0

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def _end(self) -> None:
        if self._holder is not None:
            self._holder.kill()  # --kill-child: its systemd, and so everything in its namespaces, goes with it
            self._holder.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
