"""A stub of the Neptun web API on 127.0.0.1, so fast that it is never what a benchmark measures.

Every answer is prepared once as bytes (head and body) and then looked up by its request line, on a bare
asyncio protocol with keep-alive. Nothing changes on a DELETE, so that every round sees the same items.

The project's id selects the data:

    project                 imports                  user files
    1                       2                        2 of 200 characters
    2                       200                      200 of 2,000 characters
    3                       2                        2,000 of 20,000 characters (a body of 42 MB)
    5                       50                       50 of 200 characters
    10, 100, 1000, 10000    as many                  as many of 200 characters
    9                       --imports, ...           --files of --file-length characters

All imports are local folders, except those that options add to project 9. Every second import is completed
and has a tree of --tree-files files; the others have none.

    python benchmarks/stub.py [--port PORT] [--contract documented] [--delay SECONDS] [--megabits RATE] ...

The first line of stdout is the port. `GET /stats` tells `requests`, `open` (connections) and `peak` (the most
connections open at once) as JSON; `DELETE /stats` starts the counts again. Neither is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import parse_qs, urlsplit

from neptun_mcp.sandbox import USER_ID
from neptun_mcp.sandbox import data as sample
from neptun_mcp.sandbox.contracts import documented_import, documented_resource, observed_import
from neptun_mcp.sandbox.data import INSTALLED, LOCAL, PUBLIC
from neptun_mcp.sandbox.state import Record

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

Query = dict[str, list[str]]

CUSTOM_PROJECT = 9
PACE = 0.01
"""Seconds between two parts of a paced answer."""
PIECE = 2**20
"""Bytes that are written at once: what the other side does not take, asyncio copies, twice."""
MAX_PREPARED = 1024
"""Answers kept; beyond that they are made again for each request."""

REASONS = {200: "OK", 204: "No Content", 400: "Bad Request.", 401: "Unauthorized.", 404: "Not Found"}
SESSION: Record = {
    "id": "96ed32c5-28b5-4e1e-86f5-300e64349964",
    "user": {"id": USER_ID, "primary_email": "alice@example.com"},
    "loggedInAt": "2026-11-21T23:12:38.385Z",
}


@dataclass(frozen=True)
class DataSet:
    """How much a project holds: imports of each kind, user files, characters of each file's text."""

    local: int = 0
    installation: int = 0
    public: int = 0
    files: int = 0
    file_length: int = 200
    tree_files: int = 8


def built_in_projects(tree_files: int) -> dict[int, DataSet]:
    """The data sets of the module's docstring, by the id of their project."""
    counts = (10, 100, 1000, 10000)
    return {count: DataSet(local=count, files=count, tree_files=tree_files) for count in counts} | {
        1: DataSet(local=2, files=2, tree_files=tree_files),
        2: DataSet(local=200, files=200, file_length=2000, tree_files=tree_files),
        3: DataSet(local=2, files=2000, file_length=20000, tree_files=tree_files),
        5: DataSet(local=50, files=50, tree_files=tree_files),
    }


def created_at(index: int, count: int, newest_first: bool) -> str:
    """When item `index` of `count` was made: newest first, or in no order at all."""
    # 7919 is a prime: multiples of it visit every minute once, out of order.
    minute = count - index if newest_first else index * 7919 % count
    return str(datetime(2026, 1, 1) + timedelta(minutes=minute))


def source_path(kind: str, number: int) -> str:
    """Where import `number` was read from, as people have it: a folder, or a GitHub repository."""
    if kind == LOCAL:
        return f"/home/alice/projects/service-{number}"
    return f"alice/service-{number}" if kind == INSTALLED else f"https://github.com/alice/service-{number}"


def file_tree(number: int, files: int) -> Record:
    """The tree that the server keeps of a completed import with `files` files."""
    children = [{"name": f"module_{index}.py"} for index in range(files)]
    return {"name": f"service-{number}", "children": children}


def import_items(project_id: int, data: DataSet, documented: bool) -> list[Record]:
    """Every import of a project, whatever its kind, as the contract shows it."""
    kinds = [LOCAL] * data.local + [INSTALLED] * data.installation + [PUBLIC] * data.public
    items: list[Record] = []
    for index, kind in enumerate(kinds):
        number, completed = index + 1, index % 2 == 1
        item = sample.source(
            number,
            project_id,
            kind,
            source_path(kind, number),
            created_at(index, len(kinds), documented),
            status="completed" if completed else "pending",
        )
        item |= {
            "source_ref": None if kind == LOCAL else "main",
            "file_tree": file_tree(number, data.tree_files) if completed else None,
            "title": f"Service {number}",
            "description": f"Import of service {number}",
        }
        items.append(documented_import(item) if documented else observed_import(item))
    return items


def text_of(number: int, length: int) -> str:
    """A text of `length` characters that looks like code: lines of 65 characters, two quotes in each."""
    line = '    setting = read_setting("service.connection.timeout", 30.000)\n'
    first = f"# file {number}\n"
    return (first + line * (length // len(line) + 1))[:length]


def user_file(index: int, data: DataSet, documented: bool) -> Record:
    """One user file of a project."""
    text, made = text_of(index + 1, data.file_length), created_at(index, data.files, documented)
    return sample.file(index + 1, f"module_{index + 1}", text, "python", "py", made)


def other_resources(resource_type: str, documented: bool) -> list[Record] | None:
    """Those of the sample data, for each project; None for another type."""
    found = sample.sample_data().resources.get((sample.WEBSHOP, resource_type))
    return [documented_resource(item) for item in found] if documented and found else found


def failure(status: int, message: str, documented: bool) -> tuple[int, object]:
    """An error's status and body, in the words of the contract spoken."""
    if documented:
        return status, {"statusCode": status, "message": message}
    return status, {"statusCode": status, "statusMessage": REASONS[status], "stack": []}


def encode(status: int, body: object) -> bytes:
    """A whole HTTP/1.1 answer; without a body where the status is 204."""
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\n"
    if status == 204:
        return f"{head}\r\n".encode()
    content = b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Answers:
    """What the stub answers to each request line, prepared once; and the counts of `/stats`."""

    def __init__(self, projects: dict[int, DataSet], documented: bool, delay: float, megabits: float) -> None:
        self.projects = projects
        self.documented = documented
        self.delay = delay
        self.bytes_per_second = megabits * 1e6 / 8
        self.prepared: dict[bytes, bytes] = {}
        self.requests = self.open = self.peak = 0

    def answer(self, request_line: bytes) -> bytes:
        """The answer to `METHOD target HTTP/1.1`, from the prepared ones where it is there."""
        prepared = self.prepared.get(request_line)
        if prepared is None:
            method, target = request_line.decode("latin-1").split(" ")[:2]
            prepared = encode(*self.route(method, target))
            if len(self.prepared) < MAX_PREPARED:
                self.prepared[request_line] = prepared
        return prepared

    def stats(self, request_line: bytes) -> bytes:
        """The counts since the start or since the last `DELETE /stats`."""
        if request_line.startswith(b"DELETE"):
            self.requests, self.peak = 0, self.open
        return encode(200, {"requests": self.requests, "open": self.open, "peak": self.peak})

    def route(self, method: str, target: str) -> tuple[int, object]:
        """Status and body of one request."""
        parts = urlsplit(target)
        match (method, parts.path.strip("/").split("/")):
            case ("HEAD", ["refused"]):
                return 401, None
            case (_, ["refused"]):
                return failure(401, "Unauthorized", self.documented)
            case ("HEAD", ["api", "auth", "check"]):
                return 204, None
            case ("GET", ["api", "_auth", "session"]):
                return 200, SESSION
            case ("GET", ["api", "users", user, "projects"]) if user == str(USER_ID):
                return 200, self.project_list()
            case ("GET", ["api", "users", user, "projects", project, "resources", resource_type]):
                return self.resources(user, project, resource_type, parse_qs(parts.query, True))
            case ("GET", ["api", "users", user, "projects", project, "resources", "user-files", file_id]) if (
                not self.documented
            ):
                return self.single_file(user, project, file_id)
            case ("DELETE", ["api", "users", _, "projects", _, "resources", "imports", _]):
                return (204, None) if self.documented else (200, [])
            case _:
                return failure(404, "Page not found", self.documented)

    def project_list(self) -> object:
        """The projects; `demo` is the first."""
        projects = [
            sample.project(
                project_id,
                "demo" if project_id == 1 else f"demo {project_id}",
                "web-service",
                "python",
                created_at(index, len(self.projects), self.documented),
                "a project of alice",
            )
            for index, project_id in enumerate(sorted(self.projects))
        ]
        return {"projects": projects} if self.documented else projects

    def data_set(self, user: str, project: str) -> DataSet | None:
        """What a project of the user holds."""
        return self.projects.get(int(project)) if user == str(USER_ID) and project.isdecimal() else None

    def single_file(self, user: str, project: str, file_id: str) -> tuple[int, object]:
        """One user file, as observed; the documented contract has no such endpoint."""
        data = self.data_set(user, project)
        if data is None:
            return failure(404, "Project not found", self.documented)
        if not file_id.isdecimal() or not 1 <= int(file_id) <= data.files:
            return failure(401, "File not found", self.documented)
        return 200, user_file(int(file_id) - 1, data, self.documented)

    def resources(self, user: str, project: str, resource_type: str, query: Query) -> tuple[int, object]:
        """One list of one project: imports, user files, or another type of resource."""
        data = self.data_set(user, project)
        if data is None:
            return failure(404 if self.documented else 401, "Project not found", self.documented)
        if resource_type == "imports":
            return self.imports(import_items(int(project), data, self.documented), query)
        if resource_type == "user-files":
            return 200, [user_file(index, data, self.documented) for index in range(data.files)]
        others = other_resources(resource_type, self.documented)
        return (200, others) if others else failure(400, "Invalid resource type", self.documented)

    def imports(self, items: list[Record], query: Query) -> tuple[int, object]:
        """The imports that the query asks for: by default all (documented) or local folders (observed)."""
        if self.documented:
            wanted = query.get("source_type", [""])[0]
            return 200, {"imports": [item for item in items if wanted in ("", item["source_type"])]}
        wanted = query.get("import_source_type", [LOCAL])[0]
        if wanted not in (LOCAL, INSTALLED, PUBLIC):
            return failure(400, "Invalid import source type", self.documented)
        return 200, [item for item in items if item["source_type"] == wanted]


class Connection(asyncio.Protocol):
    """One connection: splits what comes into requests (none of this API has a body) and answers each."""

    def __init__(self, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
        self.answers = answers
        self.loop = loop
        self.buffer = b""
        self.unsent = deque[memoryview]()
        self.paused = False
        self.counted = False
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the way back, and count one open connection less."""
        self.transport = None
        self.answers.open -= self.counted

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        *requests, self.buffer = (self.buffer + data).split(b"\r\n\r\n")
        for request in requests:
            request_line = request.partition(b"\r\n")[0]
            if b" /stats " in request_line:
                self.send(self.answers.stats(request_line))
            else:
                self.count()
                method = request_line.partition(b" ")[0]
                self.answer(method + b" /refused" if b"invented" in request else request_line)

    def count(self) -> None:
        """Count the request, and with the first one the connection."""
        answers = self.answers
        answers.requests += 1
        if not self.counted:
            self.counted = True
            answers.open += 1
            answers.peak = max(answers.peak, answers.open)

    def answer(self, request_line: bytes) -> None:
        """Answer now, or after the delay."""
        content = self.answers.answer(request_line)
        if self.answers.delay:
            self.loop.call_later(self.answers.delay, self.write, content)
        else:
            self.write(content)

    def write(self, content: bytes) -> None:
        """Send at once, or each part when a line of that rate would have transferred it."""
        rate = self.answers.bytes_per_second
        if not rate:
            return self.send(content)
        started, size, view = self.loop.time(), max(1, int(rate * PACE)), memoryview(content)
        for start in range(0, len(content), size):
            part = view[start : start + size]
            self.loop.call_at(started + (start + len(part)) / rate, self.send, part)
        return None

    def send(self, content: bytes | memoryview) -> None:
        """Send, if the other side is still there."""
        view = memoryview(content)
        self.unsent.extend(view[start : start + PIECE] for start in range(0, len(view), PIECE))
        if not self.paused:
            self.resume_writing()

    def pause_writing(self) -> None:
        """The other side has to read first."""
        self.paused = True

    def resume_writing(self) -> None:
        """Send what is left, as far as the other side takes it."""
        self.paused = False
        while self.unsent and not self.paused and self.transport is not None:
            self.transport.write(self.unsent.popleft())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A stub of the Neptun web API on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--contract", choices=["observed", "documented"], default="observed")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--megabits", type=float, default=0.0, help="rate of each connection in Mbit/s (0: no limit)")
    parser.add_argument("--tree-files", type=int, default=20, help="files in a completed import's tree")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    custom = parser.add_argument_group(f"what project {CUSTOM_PROJECT} holds")
    custom.add_argument("--imports", type=int, default=0, help="imports of local folders")
    custom.add_argument("--installation-imports", type=int, default=0, help="imports of GitHub installations")
    custom.add_argument("--public-imports", type=int, default=0, help="imports of public GitHub repositories")
    custom.add_argument("--files", type=int, default=0, help="user files")
    custom.add_argument("--file-length", type=int, default=200, help="characters of each user file's text")
    return parser.parse_args()


def stop_at_eof(loop: asyncio.AbstractEventLoop) -> None:
    """Stop the loop when stdin ends, so that the stub does not outlive what started it."""
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(loop.stop)


def serve(answers: Answers, port: int, until_eof: bool) -> None:
    """Print the port and answer until stopped."""
    loop = new_event_loop()
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        loop.run_until_complete(loop.create_server(lambda: Connection(answers, loop), sock=listener))
        print(listener.getsockname()[1], flush=True)
        if until_eof:
            threading.Thread(target=stop_at_eof, args=[loop], daemon=True).start()
        loop.run_forever()


def main() -> None:
    """Serve until stopped."""
    arguments = parse_arguments()
    projects = built_in_projects(arguments.tree_files)
    projects[CUSTOM_PROJECT] = DataSet(
        local=arguments.imports,
        installation=arguments.installation_imports,
        public=arguments.public_imports,
        files=arguments.files,
        file_length=arguments.file_length,
        tree_files=arguments.tree_files,
    )
    answers = Answers(projects, arguments.contract == "documented", arguments.delay, arguments.megabits)
    with suppress(KeyboardInterrupt):
        serve(answers, arguments.port, arguments.until_eof)


if __name__ == "__main__":
    main()
