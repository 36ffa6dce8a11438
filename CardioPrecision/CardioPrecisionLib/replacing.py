"""A file, or a folder, that gets its name when it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """A path beside `target` to write to, which takes its name at a good end and is removed at any other.

    Parameters
    ----------
    target : path
        A file there is replaced in one step; its folder must exist. The path to write to ends as the target does, and
        its name begins with a dot.

    Raises
    ------
    OSError
        It could not be written or renamed; what was there stays as it was.
    """
    target = Path(target)
    beside = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.part.{target.name}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
