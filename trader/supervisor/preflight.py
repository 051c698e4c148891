"""The check before the start: the service refuses what it could not run on, before any worker exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trader.config.loading import located
from trader.config.problems import ConfigErrors
from trader.config.sections import Config
from trader.errors import EXIT_CONFIG
from trader.supervisor.child import fork
from trader.supervisor.errand import Errand, ErrandRefused

CHECK = "trader.engine.preflight:preflight"
POLL_S = 0.1


class Preflight:
    """The checks, running beside the supervisor's own imports until `wait` is called.

    Parameters
    ----------
    config : Config
        What is to be checked.
    path : Path or None
        The file that it was read from, to name lines.
    """

    def __init__(self, config: Config, path: Path | None) -> None:
        self._path = path
        self._errand = Errand("the check before the start", CHECK, config, begin=fork)

    def wait(self, is_stopped: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
        """Wait for the result; whoever asks to stop ends the check.

        Parameters
        ----------
        is_stopped : callable
            Tells whether a stop was asked for.
        meanwhile : callable
            Called while the check goes on, some ten times a second.

        Raises
        ------
        ConfigErrors
            When the configuration can't be run, with the lines of the file.
        ErrandRefused
            For any other refusal, with its exit code and words.
        GaveUp
            When the check itself died.
        """
        while not self._errand.wait(POLL_S):
            meanwhile()
            if is_stopped():
                self._errand.kill()
                return
        try:
            self._errand.result()
        except ErrandRefused as refusal:
            if refusal.exit_code != EXIT_CONFIG or self._path is None:
                raise
            raise ConfigErrors(located(self._path, str(refusal))) from refusal
