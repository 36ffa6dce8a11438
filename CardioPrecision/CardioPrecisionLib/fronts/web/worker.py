"""A user's process: a MRML scene, its views, the page. Answers only to the front that has started it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from ...errors import InputError
from . import guard
from .front import SECRET_HEADER, SETUP_VARIABLE

#: Without a browser for so long, the process ends.
IDLE_SECONDS = 900


def main() -> None:
    """Run by the front, which says in the environment what the session is."""
    from trame.app import get_server

    from .viewer import Viewer

    setup = json.loads(os.environ.pop(SETUP_VARIABLE))
    folder = Path(setup["folder"])
    server = get_server()
    server.client_type = "vue3"
    viewer = Viewer(server, folder, Path(setup["data"]) if setup["data"] else None)

    @web.middleware
    async def known(request: web.Request, handler: Any) -> Any:
        if not guard.same(request.headers.get(SECRET_HEADER), setup["secret"]):
            return web.Response(status=403)
        return await handler(request)

    async def report(request: web.Request) -> web.StreamResponse:
        try:
            path = guard.inside(folder / "runs", f"{request.match_info['run']}/report.html")
        except InputError as error:
            return web.Response(status=404, text=str(error))
        return web.FileResponse(path, headers={"Content-Type": "text/html; charset=utf-8"})

    async def download(request: web.Request) -> web.StreamResponse:
        try:
            run = guard.inside(folder / "runs", request.match_info["run"])
            path = await asyncio.to_thread(viewer.packed, run)
        except InputError as error:
            return web.Response(status=404, text=str(error))
        name = f'attachment; filename="{path.name}"'
        return web.FileResponse(path, headers={"Content-Disposition": name, "Content-Type": "application/zip"})

    @server.controller.add("on_server_bind")
    def bind(bound: Any) -> None:
        bound.app.middlewares.append(known)
        bound.app.router.add_get("/report/{run}", report)
        bound.app.router.add_get("/download/{run}.zip", download)

    @server.controller.add("on_server_ready")
    def ready(**_state: Any) -> None:
        print(json.dumps({"port": server.port}), flush=True)

    server.start(
        port=0,
        host="127.0.0.1",
        open_browser=False,
        show_connection_info=False,
        disable_logging=True,
        timeout=IDLE_SECONDS,
    )


if __name__ == "__main__":
    main()
