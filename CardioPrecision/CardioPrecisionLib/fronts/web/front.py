"""The server that a browser speaks to: who is who, uploads, and the way to each user's own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ...errors import InputError
from ..child import child_variables, kill_tree
from . import guard

COOKIE = "cardioprecision_session"
#: Header by which a worker knows that a request has come through this server.
SECRET_HEADER = "X-CardioPrecision-Worker"  # noqa: S105 (a name)
SETUP_VARIABLE = "CARDIOPRECISION_WEB_SESSION"
_START_SECONDS = 60.0
_HOP = {"connection", "keep-alive", "proxy-authenticate", "te", "trailers", "transfer-encoding", "upgrade", "host"}
_REFUSAL = "This address needs the token of the link that 'cardioprecision serve' has printed."
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass
class Session:
    """One user: a folder, and a process with a scene of its own."""

    folder: Path
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    process: Any = None
    port: int = 0
    drain: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Front:
    """See the module.

    Parameters
    ----------
    token : str
        Who has it may begin a session.
    data : path, optional
        A folder whose content users may open.
    upload_bytes : int
    most_sessions : int
        More users at once are told to come back.
    """

    def __init__(
        self,
        token: str,
        data: Path | None = None,
        upload_bytes: int = guard.UPLOAD_BYTES,
        most_sessions: int = 8,
    ):
        self.token, self.data, self.upload_bytes, self.most_sessions = token, data, upload_bytes, most_sessions
        self.sessions: dict[str, Session] = {}
        self.hosts: set[str] = set()
        self._client: aiohttp.ClientSession | None = None
        self.app = web.Application(middlewares=[self._guarded], client_max_size=1024**2)
        self.app.router.add_post("/upload", self._upload)
        self.app.router.add_get("/ws", self._websocket)
        self.app.router.add_route("GET", "/{path:.*}", self._page)
        self.app.on_cleanup.append(self._close)

    # -- who is who ----------------------------------------------------------------------------------------------------
    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Every request: the right host, then a known session, or the token that begins one."""
        if self.hosts and request.host not in self.hosts:
            return web.Response(status=403, text="This host is not served.")
        origin = request.headers.get("Origin")
        if origin and origin.split("://")[-1] != request.host:
            return web.Response(status=403, text="This page may not be used from another one.")
        session = self.sessions.get(request.cookies.get(COOKIE, ""))
        given = request.query.get("token")
        if given is not None:
            if not guard.same(given, self.token):
                return web.Response(status=403, text=_REFUSAL)
            return await self._begin(session)
        if session is None:
            return web.Response(status=403, text=_REFUSAL)
        request["session"] = session
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    async def _begin(self, known: Session | None) -> web.Response:
        """The page without the token in its address; a new session where the browser has none that lives."""
        redirect = web.Response(status=303, headers={"Location": "/", **_HEADERS})
        if known is not None and known.alive:
            return redirect
        for name in [n for n, s in self.sessions.items() if not s.alive]:
            self._end(self.sessions.pop(name))
        if len(self.sessions) >= self.most_sessions:
            return web.Response(status=503, text="All sessions are taken; try again later.")
        session = Session(Path(tempfile.mkdtemp(prefix="cardioprecision-web-")))
        try:
            await self._start(session)
        except (OSError, RuntimeError, TimeoutError) as error:
            self._end(session)
            return web.Response(status=500, text=f"The session could not be started ({error}).")
        name = secrets.token_urlsafe(32)
        self.sessions[name] = session
        redirect.set_cookie(COOKIE, name, httponly=True, samesite="Strict", path="/")
        return redirect

    async def _start(self, session: Session) -> None:
        setup = {"folder": str(session.folder), "data": str(self.data) if self.data else None, "secret": session.secret}
        session.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "CardioPrecisionLib.fronts.web.worker",
            env=os.environ | child_variables() | {SETUP_VARIABLE: json.dumps(setup)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_START_SECONDS):
            while line := await session.process.stdout.readline():
                with contextlib.suppress(ValueError):
                    session.port = int(json.loads(line)["port"])
                    break
        if not session.port:
            raise RuntimeError("its process ended")
        # What it says from here on must not fill the pipe.
        session.drain = asyncio.create_task(_drain(session.process.stdout))

    def _end(self, session: Session) -> None:
        if session.alive:
            kill_tree(session.process.pid)
        shutil.rmtree(session.folder, ignore_errors=True)

    async def _close(self, app: web.Application) -> None:
        for session in self.sessions.values():
            self._end(session)
        self.sessions.clear()
        if self._client is not None:
            await self._client.close()

    @property
    def client(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(auto_decompress=False)
        return self._client

    # -- the way to a user's process -----------------------------------------------------------------------------------
    async def _page(self, request: web.Request) -> web.StreamResponse:
        session: Session = request["session"]
        if not session.alive:
            return web.Response(status=410, text="This session has ended; open the printed link again.")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        headers[SECRET_HEADER] = session.secret
        try:
            async with self.client.get(
                session.url + request.path, params=request.query, headers=headers, allow_redirects=False
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP | {"content-length"}}
                response = web.StreamResponse(status=answer.status, headers={**kept, **_HEADERS})
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(1 << 16):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError:
            return web.Response(status=502, text="The session does not answer; open the printed link again.")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        session: Session = request["session"]
        if not session.alive:
            return web.Response(status=410, text="This session has ended.")
        browser = web.WebSocketResponse(max_msg_size=0)
        await browser.prepare(request)
        async with self.client.ws_connect(
            session.url + "/ws", headers={SECRET_HEADER: session.secret}, max_msg_size=0
        ) as worker:
            ways = [asyncio.create_task(_pass_on(*pair)) for pair in ((browser, worker), (worker, browser))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        await browser.close()
        return browser

    # -- uploads -------------------------------------------------------------------------------------------------------
    async def _upload(self, request: web.Request) -> web.Response:
        """``POST /upload?name=…`` with the bytes as the body; a zip archive is unpacked."""
        session: Session = request["session"]
        name = guard.safe_name(request.query.get("name", ""))
        folder = session.folder / "uploads"
        folder.mkdir(exist_ok=True)
        target = folder / name
        try:
            guard.refuse_length(request.content_length, self.upload_bytes)
            await guard.receive(_chunks(request), target, self.upload_bytes)
            if name.lower().endswith(".zip"):
                try:
                    await asyncio.to_thread(guard.unpack, target, folder / name[:-4])
                finally:
                    target.unlink(missing_ok=True)
                name = name[:-4]
        except InputError as error:
            return web.json_response({"error": str(error)}, status=413)
        return web.json_response({"name": name})


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(1 << 20):
        yield chunk


async def _drain(stream: Any) -> None:
    while await stream.readline():
        pass


async def _pass_on(source: Any, target: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        else:
            return


async def serve(front: Front, host: str, port: int, ready: Any) -> None:
    """Serve until cancelled; ``ready(url)`` once the address is known."""
    runner = web.AppRunner(front.app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        front.hosts = {f"{name}:{bound}" for name in {host, "127.0.0.1", "localhost"}} if host != "0.0.0.0" else set()  # noqa: S104
        ready(f"http://{host}:{bound}/?token={front.token}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
