"""Commands: what an owner types, and how every error becomes one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from trader.errors import EXIT_FAILED, TraderError

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; the process's own by default.

    Returns
    -------
    int
        What the process exits with.
    """
    from trader.cli.parser import parse

    arguments = parse(argv)
    module_name, _, name = arguments.function.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
        exit_code: int = function(arguments)
        sys.stdout.flush()
    except TraderError as error:
        return _fail(error, error.exit_code)
    except BrokenPipeError:
        # the reader has seen enough (`trader orders | head`); keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        return _fail(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return exit_code


def _fail(error: Exception, exit_code: int) -> int:
    from trader.config.problems import ConfigErrors

    if isinstance(error, ConfigErrors):
        # each problem on a line of its own, as compilers do: editors jump to FILE:LINE
        count = len(error.problems)
        sys.stderr.write(f"{error}\ntrader: the configuration has {count} problem{'s' if count != 1 else ''}\n")
    else:
        sys.stderr.write(f"trader: {error}\n")
    return exit_code
