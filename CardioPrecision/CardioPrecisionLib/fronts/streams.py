"""Keeps standard output and error for what a front says itself."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def own_streams(verbose: bool = False) -> Iterator[tuple[TextIO, TextIO]]:
    """Keep standard output and error to ourselves while libraries work.

    Python warnings, log messages and direct writes of native code (ITK, torch) go to the null device, or with
    `verbose` all to standard error. Yields the streams that reach the user.
    """
    out, err = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        if not verbose:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            level = logging.root.manager.disable
            logging.disable(logging.ERROR)
            stack.callback(logging.disable, level)
        if _is_descriptor(out, 1) and _is_descriptor(err, 2):
            out.flush()
            err.flush()
            kept_out, kept_err = os.dup(1), os.dup(2)
            sink = kept_err if verbose else os.open(os.devnull, os.O_WRONLY)
            own_out = stack.enter_context(os.fdopen(os.dup(kept_out), "w", encoding=out.encoding, errors="replace"))
            own_err = stack.enter_context(
                os.fdopen(os.dup(kept_err), "w", encoding=err.encoding, errors="replace", buffering=1)
            )
            os.dup2(sink, 1)
            os.dup2(sink, 2)

            def restore() -> None:
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(kept_out, 1)
                os.dup2(kept_err, 2)
                for descriptor in {kept_out, kept_err, sink}:
                    os.close(descriptor)

            stack.callback(restore)
            yield own_out, own_err
        else:  # a test or a notebook has put its own objects there
            stack.enter_context(
                contextlib.redirect_stdout(
                    err if verbose else stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                )
            )
            yield out, err


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (OSError, ValueError, AttributeError):
        return False
