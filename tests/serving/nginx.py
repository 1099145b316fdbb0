"""nginx before two servers, configured as in the documentation."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.processes import free_port, start

NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "remote.md"


def documented_configuration(folder: Path, port: int, first: str, second: str) -> str:
    """nginx's configuration in the documentation, with other ports, without TLS, and with files that need no rights."""
    (block,) = re.findall(r"```nginx\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    block = re.sub(r"ssl_certificate.*;", "", block)
    changes = {
        "127.0.0.1:8001": first,
        "127.0.0.1:8002": second,
        "listen 443 ssl": f"listen 127.0.0.1:{port}",
        "/var/log/nginx/neptun-mcp.log": f"{folder}/access.log",
    }
    for documented, actual in changes.items():
        assert block.count(documented) == 1
        block = block.replace(documented, actual)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return (
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; add_header X-Served-By $upstream_addr always;\n{paths}\n{block} }}"
    )


@asynccontextmanager
async def behind_nginx(folder: Path, first: str, second: str, port: int = 0) -> AsyncGenerator[str]:
    """The address of nginx, before two servers."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    port = port or free_port()
    file = folder / "nginx.conf"
    file.write_text(documented_configuration(folder, port, *(url.removeprefix("http://") for url in (first, second))))
    async with start(folder / "nginx.log", NGINX, "-c", str(file), "-p", str(folder), env={}) as nginx:
        url = f"http://127.0.0.1:{port}"
        await nginx.answering(url)
        yield url
