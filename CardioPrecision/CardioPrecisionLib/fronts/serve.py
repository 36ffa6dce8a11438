"""``cardioprecision serve``: the browser front."""

from __future__ import annotations

import importlib.util
import secrets
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

_NEEDED = ("trame", "trame_slicer", "trame_vuetify", "slicer", "aiohttp")
_GIB = 1024**3
_OWN = ("127.0.0.1", "localhost", "::1")


def need() -> None:
    """A line instead of a traceback where the extra is not installed."""
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"The browser front needs {package}; pip install 'cardioprecision[web]'.")


def serve(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder whose studies may be opened.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; the default is this machine's own.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    upload_gib: Annotated[float, typer.Option(min=0.001, max=1024, help="Largest upload, GiB.")] = 2.0,
    users: Annotated[int, typer.Option(min=1, max=64, help="Users at once; each has a process of its own.")] = 4,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the system's browser.")] = False,
) -> None:
    """Serve the page for a browser; prints the link that lets a user in. Ends with Ctrl-C."""
    import asyncio
    import contextlib

    need()
    if data is not None and not data.is_dir():
        raise InputError(f"{data}: this folder is not there; give one with studies.")
    from .web.front import Front
    from .web.front import serve as run

    def ready(link: str) -> None:
        print(f"Open this link; who has it may use this server:\n\n    {link}\n\nStop with Ctrl-C.", flush=True)
        if host not in _OWN:
            print("This address can be reached from the network, without encryption.", flush=True)
        if open_browser:
            typer.launch(link)

    front = Front(secrets.token_urlsafe(24), data, int(upload_gib * _GIB), users)
    try:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(run(front, host, port, ready))
    except OSError as error:
        raise InputError(f"{host}:{port}: this address cannot be served ({error.strerror}).") from None
