"""The sandbox against the recordings of a running server, and against the documentation of the three endpoints."""

import errno
import json
import re
import signal
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from starlette.types import ASGIApp

from neptun_mcp import sandbox
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD, USER_ID
from neptun_mcp.sandbox.contracts import INVALID_PARAMETERS
from neptun_mcp.sandbox.data import sample_data
from tests.listening import serve
from tests.running_neptun import BOB_COOKIE, Part, add_another_persons_file, create_app
from tests.support import (
    PATIENCE,
    RECORDINGS,
    RESOURCE_TYPES,
    SCRATCH,
    WEBSHOP,
    ContractName,
    Json,
    Recording,
    end_session,
    resources,
)
from tests.validator import Explained, positive_integers

pytestmark = pytest.mark.anyio

ALICE = {"Accept": "application/json", "Cookie": f"neptun-session={COOKIE}"}
SOURCE_TYPES = ("local_folder", "github_repository_installation", "public_github_repository_url")


# The sandbox on a port, and clients that send exactly what a test says


@asynccontextmanager
async def sandbox_client(app: ASGIApp) -> AsyncGenerator[httpx.AsyncClient, None]:
    addresses: list[str] = []
    listening = anyio.Event()

    def started(address: str) -> None:
        addresses.append(address)
        listening.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, app, started=started))
        await listening.wait()
        client = bare_client(addresses[0])
        async with client:
            yield client
        tasks.cancel_scope.cancel()


def bare_client(address: str) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=address, verify=False, trust_env=False)
    del client.headers["accept"]
    return client


async def send(
    client: httpx.AsyncClient, method: str, path: str, headers: Mapping[str, str] = ALICE, body: str | None = None
) -> httpx.Response:
    """Send the path byte for byte, which an HTTP client would otherwise tidy."""
    request = client.build_request(method, "/", headers=dict(headers), content=body)
    request.extensions["target"] = path.encode()
    response = await client.send(request)
    client.cookies.clear()
    return response


@pytest.fixture(scope="module")
async def observed_client(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """For tests that change nothing."""
    async with sandbox_client(create_app()) as client:
        yield client


@pytest.fixture(scope="module")
async def documented_client(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """For tests that change nothing."""
    async with sandbox_client(create_app(contract="documented")) as client:
        yield client


# Recordings


# All but those of a broken database, and of logging out, which the sandbox has no use for.
BROKEN = re.compile(r"dbfail_|dbdown_(imports|login|projects|resource|resources|shared)_?|auth_session_DELETE")
REPLAYED = [recording for name, recording in RECORDINGS.items() if not BROKEN.match(name)]
DELETIONS = [it for it in REPLAYED if it.is_list and it.request["method"] == "DELETE"]
LISTS = [it for it in REPLAYED if it.is_list and it.request["method"] == "GET"]
SINGLE = [it for it in REPLAYED if it.name.startswith("resource_GET") and it.response["status"] == 200]
OTHERS = [it for it in REPLAYED if not it.is_list and it not in SINGLE]


def name_of(recording: Recording) -> str:
    return recording.name


async def send_again(client: httpx.AsyncClient, recording: Recording, path: str | None = None) -> httpx.Response:
    request = recording.request
    return await send(client, request["method"], path or request["path"], request["headers"], request.get("body"))


def comparable(body: str) -> Any:
    """A body without what differs between two runs of the same server: its port, times and session ids."""
    body = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1", body)
    body = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z", "<time>", body)
    body = re.sub(r"[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", "<uuid>", body)
    body = re.sub(r'"uptime":[\d.]+', '"uptime":0', body)
    return json.loads(body) if body.startswith("{") else body


def is_indented(body: str) -> bool:
    return body.startswith("{\n  ")


def cookie_kind(set_cookie: str | None) -> tuple[bool, str] | None:
    """Whether a Set-Cookie is of a person's session (those are longer), and its attributes."""
    if set_cookie is None:
        return None
    value, attributes = set_cookie.split(";", 1)
    return len(value) > 450, attributes


@pytest.mark.parametrize("recording", OTHERS, ids=name_of)
async def test_answers_like_the_recorded_server(observed_client: httpx.AsyncClient, recording: Recording) -> None:
    # Alice's own file of another project is 15 in the recordings, 8 in the sandbox.
    path = recording.request["path"].replace("/user-files/15", "/user-files/8")
    answer, recorded = await send_again(observed_client, recording, path), recording.response

    assert answer.status_code == recorded["status"]
    assert comparable(answer.text) == comparable(recorded["body"])
    assert is_indented(answer.text) == is_indented(recorded["body"])
    assert answer.headers.get("content-type") == recorded["headers"].get("content-type")
    assert cookie_kind(answer.headers.get("set-cookie")) == cookie_kind(recorded["headers"].get("set-cookie"))


@pytest.mark.parametrize("recording", SINGLE, ids=name_of)
async def test_shows_a_resource_with_the_recorded_fields(
    observed_client: httpx.AsyncClient, recording: Recording
) -> None:
    resources = recording.request["path"].removesuffix("/1")
    for item in await get(observed_client, resources):
        answer = await send_again(observed_client, recording, f"{resources}/{item['id']}")
        assert (answer.status_code, answer.json()) == (200, item)
        assert item.keys() == json.loads(recording.response["body"]).keys()


async def test_the_documented_server_shows_no_single_resource(documented_client: httpx.AsyncClient) -> None:
    answer = await send(documented_client, "GET", f"{WEBSHOP}/resources/user-files/1")
    assert answer.status_code == 404


@pytest.mark.parametrize("recording", LISTS, ids=name_of)
async def test_lists_the_recorded_fields(observed_client: httpx.AsyncClient, recording: Recording) -> None:
    """Projects 4 to 6 of the recordings were made for one question each; the sandbox's webshop stands in."""
    path = re.sub(r"/projects/[456]/", "/projects/1/", recording.request["path"])

    answer = await send_again(observed_client, recording, path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers
    items = answer.json()
    if "/projects/2/" in path:
        assert items == recording.items == []
    elif recording.items:
        assert items
        assert all(item.keys() == recording.items[0].keys() for item in items)


@pytest.mark.parametrize("recording", DELETIONS, ids=name_of)
async def test_deletes_like_the_recorded_server(recording: Recording) -> None:
    path = re.sub(r"/projects/6/resources/imports/\d+", "/projects/1/resources/imports/101", recording.request["path"])
    app = create_app()
    async with sandbox_client(app) as client:
        answer = await send_again(client, recording, path)

    assert (answer.status_code, answer.text) == (200, recording.response["body"])
    assert 101 not in {record["id"] for record in app.store.imports}


# The observed contract, beyond single recordings


async def test_no_single_request_lists_all_imports(observed_client: httpx.AsyncClient) -> None:
    everything = {record["id"] for record in sample_data().imports if record["project_id"] == 1}
    lists = [
        await get(observed_client, resources(WEBSHOP, f"imports?import_source_type={word}")) for word in SOURCE_TYPES
    ]
    unfiltered = await get(observed_client, resources(WEBSHOP, "imports"))

    assert unfiltered == lists[0]
    assert all(lists)
    assert {record["id"] for found in lists for record in found} == everything


async def test_lists_are_unsorted_with_ties_and_nulls(observed_client: httpx.AsyncClient) -> None:
    dates = [item["created_at"] for item in await get(observed_client, resources(WEBSHOP, "user-files"))]
    known = [date for date in dates if date is not None]

    assert None in dates
    assert len(set(known)) < len(known)
    assert known != sorted(known)
    assert known != sorted(known, reverse=True)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_wrong_method_is_a_404(observed_client: httpx.AsyncClient, method: str) -> None:
    answer = await send(observed_client, method, resources(WEBSHOP, "imports"))
    assert answer.status_code == 404


async def test_deleting_an_import_keeps_its_installation() -> None:
    async with sandbox_client(create_app()) as client:
        before = await get(client, resources(WEBSHOP, "github-installations"))
        await send(client, "DELETE", resources(WEBSHOP, "imports/101"))

        assert await get(client, resources(WEBSHOP, "github-installations")) == before


@pytest.mark.parametrize(("word", "id"), [("1", 1), ("0b11", 3), ("0O17", 15), ("2.", 2), (".5e1", 5), ("1E+2", 100)])
def test_ids_are_read_like_javascript_numbers(word: str, id: int) -> None:
    assert positive_integers(id=word) == [id]


@pytest.mark.parametrize("word", ["1_0", "inf", "nan", "1e", "+0x1", "-0b1", "\u0661", " 1", "--1"])
def test_numbers_that_only_python_reads_are_refused(word: str) -> None:
    with pytest.raises(Explained) as caught:
        positive_integers(id=word)
    assert [issue["received"] for issue in issues_of(caught.value)] == ["nan"]


def test_every_bad_id_has_its_issues() -> None:
    with pytest.raises(Explained) as caught:
        positive_integers(user_id="-1.5", project_id="2", import_id="x")
    assert [(*issue["path"], issue["code"]) for issue in issues_of(caught.value)] == [
        ("user_id", "invalid_type"),
        ("user_id", "too_small"),
        ("import_id", "invalid_type"),
    ]


def issues_of(refusal: Explained) -> list[Json]:
    assert refusal.denial is INVALID_PARAMETERS
    return refusal.data["issues"]


# Failures


BREAKAGES: dict[str, Part] = {
    "dbdown_": "database",
    "dbfail_imports_GET": "imports",
    "dbfail_imports_DELETE": "deletions",
    "dbfail_resource": "resources",
}
WHILE_BROKEN = [
    pytest.param(part, recording, id=name)
    for name, recording in RECORDINGS.items()
    for start, part in BREAKAGES.items()
    if name.startswith(start)
]


@pytest.mark.parametrize(("part", "recording"), WHILE_BROKEN)
async def test_fails_like_the_recorded_server(part: Part, recording: Recording) -> None:
    app = create_app()
    app.fails(part)
    path = recording.request["path"].replace("/projects/6/resources/imports/16", "/projects/1/resources/imports/104")
    async with sandbox_client(app) as client:
        answer = await send_again(client, recording, path)
        recorded = recording.response
        assert answer.status_code == recorded["status"]
        assert comparable(answer.text) == comparable(recorded["body"].replace(recording.request["path"], path))
        app.recovers()
        assert 104 in {item["id"] for item in await get(client, resources(WEBSHOP, "imports"))}


async def test_at_the_limit_of_connections_every_second_query_fails() -> None:
    app = create_app()
    app.fails("connections")
    async with sandbox_client(app) as client:
        statuses = [(await send(client, "GET", resources(WEBSHOP, "imports"))).status_code for _ in range(4)]
        assert statuses == [500, 200, 500, 200]
        app.fails("users", times=1)
        app.fails("connections", times=0)
        form = json.dumps({"email": EMAIL, "password": PASSWORD})
        answers = [
            await send(client, "POST", "/api/auth/login", {"Accept": "application/json"}, form) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [401, 200]


async def test_another_persons_file_is_in_the_list_and_its_own_endpoint_refuses_it() -> None:
    app = create_app()
    record = add_another_persons_file(app.store, WEBSHOP)
    async with sandbox_client(app) as client:
        assert record in await get(client, resources(WEBSHOP, "user-files"))
        answer = await send(client, "GET", resources(WEBSHOP, f"user-files/{record['id']}"))
        assert (answer.status_code, answer.json()["statusMessage"]) == (401, "Unauthorized.")


# What people try is not as strict, and otherwise the same


LENIENT = re.compile(r"_(0x1|1e0|01|\d{10,}|xss_query\w*|filter_bogus|health)$")
"""Numbers that only JavaScript reads, ids that no database holds, markup, what no person asks for."""
TRIED = [it for it in (*LISTS, *OTHERS) if it.request["method"] == "GET" and not LENIENT.search(it.name)]


async def test_what_people_try_answers_with_the_recorded_status() -> None:
    async with sandbox_client(sandbox.create_app()) as client:
        for recording in TRIED:
            path = re.sub(r"/projects/[456]/", "/projects/1/", recording.request["path"])
            answer = await send_again(client, recording, path.replace("/user-files/15", "/user-files/8"))
            assert answer.status_code == recording.response["status"], recording.name


# The documented contract: list-imports


async def test_documented_imports_are_wrapped_and_newest_first(documented_client: httpx.AsyncClient) -> None:
    body = await get(documented_client, resources(WEBSHOP, "imports"))
    assert list(body) == ["imports"]
    assert_newest_first(body["imports"])
    assert {item["id"] for item in body["imports"]} == {101, 102, 103, 104, 105, 106, 107}


async def test_documented_imports_have_the_documented_fields(documented_client: httpx.AsyncClient) -> None:
    required = {"id", "source_type", "source_path", "created_at", "updated_at", "neptun_user_id", "project_id"}
    optional = {"title", "description"}
    items = (await get(documented_client, resources(WEBSHOP, "imports")))["imports"]
    for item in items:
        assert required <= item.keys() <= required | optional
        assert_iso_utc(item["created_at"], item["updated_at"])
        assert (item["neptun_user_id"], item["project_id"]) == (USER_ID, 1)
    assert any("description" in item for item in items)
    assert any("title" not in item for item in items)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {101, 102, 103, 104, 105, 106, 107}),
        ("?source_type=", {101, 102, 103, 104, 105, 106, 107}),
        ("?source_type=github", {101, 105, 106, 107}),
        ("?source_type=local_folder", {102, 103, 104}),
        ("?source_type=gitlab", set[int]()),
        ("?import_source_type=bogus", {101, 102, 103, 104, 105, 106, 107}),
    ],
)
async def test_documented_imports_are_filtered_by_source_type(
    documented_client: httpx.AsyncClient, query: str, expected: set[int]
) -> None:
    items = (await get(documented_client, resources(WEBSHOP, f"imports{query}")))["imports"]
    assert {item["id"] for item in items} == expected


async def test_documented_imports_of_an_empty_project_are_an_empty_array(documented_client: httpx.AsyncClient) -> None:
    assert await get(documented_client, resources(SCRATCH, "imports")) == {"imports": []}


# The documented contract: list-resources


async def test_documented_resources_have_the_documented_fields(documented_client: httpx.AsyncClient) -> None:
    common = {"id": int, "created_at": str, "updated_at": str, "neptun_user_id": int}
    fields = {
        "user-files": {"title": str, "text": str, "language": str, "extension": str},
        "template-collections": {"name": str, "description": str, "is_shared": bool, "share_uuid": str},
        "github-installations": {
            "github_account_type": str,
            "github_account_avatar_url": str,
            "github_account_id": str,
            "github_account_name": str,
        },
        "chat-conversations": {"name": str, "model": str},
    }
    for resource_type in RESOURCE_TYPES:
        items = await get(documented_client, resources(WEBSHOP, resource_type))
        assert items
        for item in items:
            assert {name: type(value) for name, value in item.items()} == {**fields[resource_type], **common}
            assert_iso_utc(item["created_at"], item["updated_at"])


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES)
async def test_documented_resources_are_a_bare_array_newest_first(
    documented_client: httpx.AsyncClient, resource_type: str
) -> None:
    assert_newest_first(await get(documented_client, resources(WEBSHOP, resource_type)))
    assert await get(documented_client, resources(SCRATCH, resource_type)) == []


async def test_documented_share_uuids_are_uuids(documented_client: httpx.AsyncClient) -> None:
    for item in await get(documented_client, resources(WEBSHOP, "template-collections")):
        assert str(uuid.UUID(item["share_uuid"])) == item["share_uuid"]


@pytest.mark.parametrize("resource_type", ["bogus", "user_files", "import"])
async def test_documented_an_invalid_resource_type_is_a_400(
    documented_client: httpx.AsyncClient, resource_type: str
) -> None:
    answer = await send(documented_client, "GET", resources(WEBSHOP, resource_type))
    assert (answer.status_code, answer.json()) == (400, {"statusCode": 400, "message": "Invalid resource type"})


# The documented contract: delete-import


async def test_documented_deletion_is_a_204_without_a_body_and_then_a_404() -> None:
    async with sandbox_client(create_app(contract="documented")) as client:
        first = await send(client, "DELETE", resources(WEBSHOP, "imports/104"))
        second = await send(client, "DELETE", resources(WEBSHOP, "imports/104"))
        left = (await get(client, resources(WEBSHOP, "imports")))["imports"]

    assert (first.status_code, first.content) == (204, b"")
    assert (second.status_code, second.json()) == (404, {"statusCode": 404, "message": "Import not found"})
    assert {item["id"] for item in left} == {101, 102, 103, 105, 106, 107}


@pytest.mark.parametrize(
    ("import_id", "left"), [(101, {12, 13}), (106, {11, 13}), (107, {11, 12, 13}), (104, {11, 12, 13})]
)
async def test_documented_deletion_removes_the_installation_connection(import_id: int, left: set[int]) -> None:
    async with sandbox_client(create_app(contract="documented")) as client:
        await send(client, "DELETE", resources(WEBSHOP, f"imports/{import_id}"))
        installations = await get(client, resources(WEBSHOP, "github-installations"))

    assert {item["id"] for item in installations} == left


@pytest.mark.parametrize("import_id", [201, 301, 99999])
async def test_documented_deletion_of_an_import_outside_the_project_is_a_404(
    documented_client: httpx.AsyncClient, import_id: int
) -> None:
    answer = await send(documented_client, "DELETE", resources(WEBSHOP, f"imports/{import_id}"))
    assert (answer.status_code, answer.json()) == (404, {"statusCode": 404, "message": "Import not found"})


# The documented contract: the statuses that the three have in common

ENDPOINTS = [("GET", "imports"), ("DELETE", "imports/101"), ("GET", "user-files")]


@pytest.mark.parametrize(("method", "end"), ENDPOINTS)
@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/users/2/projects/7/resources", 403, "Forbidden"),
        ("/api/users/1/projects/7/resources", 404, "Project not found"),
        ("/api/users/1/projects/99999/resources", 404, "Project not found"),
        ("/api/users/1/projects/0/resources", 400, "Invalid parameters"),
        ("/api/users/1/projects/-1/resources", 400, "Invalid parameters"),
        ("/api/users/1/projects/1.5/resources", 400, "Invalid parameters"),
        ("/api/users/abc/projects/1/resources", 400, "Invalid parameters"),
        ("/api/users/1/projects/2147483648/resources", 500, "Server error"),
    ],
)
async def test_documented_errors(
    documented_client: httpx.AsyncClient, method: str, end: str, path: str, status: int, message: str
) -> None:
    answer = await send(documented_client, method, f"{path}/{end}")
    assert (answer.status_code, answer.json()) == (status, {"statusCode": status, "message": message})


@pytest.mark.parametrize(("method", "end"), ENDPOINTS)
@pytest.mark.parametrize("cookie", [None, "neptun-session=", "neptun-session=garbage", f"other={COOKIE}"])
async def test_documented_a_missing_or_invalid_session_is_a_401(
    documented_client: httpx.AsyncClient, method: str, end: str, cookie: str | None
) -> None:
    headers = {"Accept": "application/json"} | ({"Cookie": cookie} if cookie else {})
    answer = await send(documented_client, method, resources(WEBSHOP, f"{end}"), headers)
    assert (answer.status_code, answer.json()) == (401, {"statusCode": 401, "message": "Unauthorized"})


async def test_documented_auth_check(documented_client: httpx.AsyncClient) -> None:
    assert (await send(documented_client, "HEAD", "/api/auth/check")).status_code == 200
    assert (await send(documented_client, "HEAD", "/api/auth/check", {})).status_code == 401


async def test_documented_projects_are_wrapped(documented_client: httpx.AsyncClient) -> None:
    body = await get(documented_client, "/api/users/1/projects")
    assert list(body) == ["projects"]
    assert [project["id"] for project in body["projects"]] == [2, 3, 1]


# State: deletions, sessions, and apps beside each other


async def test_a_deletion_lasts_and_does_not_affect_another_app() -> None:
    async with sandbox_client(create_app()) as one, sandbox_client(create_app()) as other:
        before = await get(one, resources(WEBSHOP, "imports"))
        first = await send(one, "DELETE", resources(WEBSHOP, "imports/104"))
        second = await send(one, "DELETE", resources(WEBSHOP, "imports/104"))

        assert (first.status_code, second.status_code) == (200, 401)
        assert 104 not in {item["id"] for item in await get(one, resources(WEBSHOP, "imports"))}
        assert await get(other, resources(WEBSHOP, "imports")) == before


async def test_each_login_has_its_own_session(contract: ContractName) -> None:
    app = create_app(contract=contract)
    async with sandbox_client(app) as client:
        first, second = await log_in(client), await log_in(client)
        assert len({first, second, COOKIE}) == 3
        assert first.startswith("Fe26.2**")
        assert len(first) == len(COOKIE) == 441

        end_session(app.store, first)

        assert await is_good(client, second)
        assert not await is_good(client, first)
        assert await is_good(client, COOKIE)


async def test_a_session_ends_with_all_its_cookies() -> None:
    app = create_app()
    async with sandbox_client(app) as client:
        renewed = cookie_in(await send(client, "GET", "/api/_auth/session"))
        assert renewed != COOKIE
        assert await is_good(client, renewed)
        assert await is_good(client, COOKIE)

        end_session(app.store, COOKIE)

        assert not await is_good(client, renewed)
        assert not await is_good(client, COOKIE)
        assert await is_good(client, BOB_COOKIE)
        assert await is_good(client, await log_in(client))


async def test_the_session_names_its_user(observed_client: httpx.AsyncClient) -> None:
    alice = await get(observed_client, "/api/_auth/session")
    bob = await get(observed_client, "/api/_auth/session", {**ALICE, "Cookie": f"neptun-session={BOB_COOKIE}"})
    nobody = await get(observed_client, "/api/_auth/session", {})

    assert alice["user"] == {"id": USER_ID, "primary_email": EMAIL}
    assert bob["user"] == {"id": 2, "primary_email": "bob@example.com"}
    assert list(nobody) == ["id"]


async def test_bob_sees_only_his_project(observed_client: httpx.AsyncClient) -> None:
    bob = {**ALICE, "Cookie": f"neptun-session={BOB_COOKIE}"}
    assert [project["id"] for project in await get(observed_client, "/api/users/2/projects", bob)] == [7]
    assert len(await get(observed_client, "/api/users/2/projects/7/resources/imports", bob)) == 1
    assert (await send(observed_client, "GET", "/api/users/2/projects/1/resources/imports", bob)).status_code == 401


@pytest.mark.parametrize("form", [{"email": EMAIL}, {"email": 1, "password": None}, [], "text"])
async def test_a_login_without_email_and_password_is_a_400(observed_client: httpx.AsyncClient, form: Any) -> None:
    answer = await send(observed_client, "POST", "/api/auth/login", {"Accept": "application/json"}, json.dumps(form))
    assert answer.status_code == 400
    assert answer.json()["data"]["name"] == "ZodError"


# Serving


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with sandbox_client(create_app()) as client:
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRINUSE):
            await serve(create_app(), port=client.base_url.port or 0, started=print)


async def test_cancelling_closes_the_port_and_open_connections(caplog: pytest.LogCaptureFixture) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    app = create_app()
    with anyio.fail_after(PATIENCE):
        async with (
            sandbox_client(app) as client,
            await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as idle,
        ):
            assert await is_good(client, COOKIE)
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
            await idle.send(b"GET /hea")
        with pytest.raises(OSError, match="connection attempts failed"):
            await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0)
    assert caplog.records == []


async def test_the_app_answers_without_a_port() -> None:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app()), base_url="http://neptun.localhost")
    async with client:
        imports = await client.get(resources(WEBSHOP, "imports"), headers=ALICE)
        nothing = await client.get("/api/nothing", headers=ALICE)

    assert len(imports.json()) == 3
    assert nothing.json()["url"] == "http://neptun.localhost/api/nothing"


# What the tests above have in common


async def get(client: httpx.AsyncClient, path: str, headers: Mapping[str, str] = ALICE) -> Any:
    answer = await send(client, "GET", path, headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def log_in(client: httpx.AsyncClient) -> str:
    form = json.dumps({"email": EMAIL, "password": PASSWORD})
    answer = await send(client, "POST", "/api/auth/login", {"Accept": "application/json"}, form)
    assert answer.json()["user"] == {"id": USER_ID, "primary_email": EMAIL}
    return cookie_in(answer)


def cookie_in(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].removeprefix("neptun-session=").split(";")[0]


async def is_good(client: httpx.AsyncClient, cookie: str) -> bool:
    answer = await send(client, "HEAD", "/api/auth/check", {"Cookie": f"neptun-session={cookie}"})
    assert answer.status_code in (200, 204, 401)
    return answer.status_code != 401


def assert_newest_first(items: list[Json]) -> None:
    assert len(items) > 1
    dates = [item["created_at"] for item in items]
    assert dates == sorted(dates, reverse=True)


def assert_iso_utc(*timestamps: str) -> None:
    for timestamp in timestamps:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
