"""Puts an application on a port of this machine."""

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The caller decides what a signal means, and cancels."""
        yield


async def serve(app: ASGIApp, *, port: int = 0, started: Callable[[str], None]) -> None:
    """Answer on 127.0.0.1 until cancelled. Needs anyio's asyncio backend.

    port: 0 takes a free one. started: is called with the address, such as `http://127.0.0.1:43121`, once
    requests are taken. Raises OSError where the port is taken.
    """
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_config=None, log_level="error", access_log=False
    )
    with socket.create_server(("127.0.0.1", port)) as listener:
        # Connections inherit it. Without it, each answer waits 40 ms for the delayed acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = Server(config)

        async def run() -> None:
            # Cancelled in the middle, uvicorn would leave its connections open: it is asked to exit instead.
            with anyio.CancelScope(shield=True):
                await server.serve(sockets=[listener])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                started(f"http://127.0.0.1:{listener.getsockname()[1]}")
                await anyio.sleep_forever()
            finally:
                server.should_exit = True
