"""The sample data: Alice, who runs a tea shop and its orders API.

Like the real thing it is in no order, some dates are the same, and some fields are null.
"""

from copy import deepcopy
from typing import Any

from ..neptun.models import GITHUB_KINDS, LOCAL_FOLDER
from . import texts
from .state import Record, Store, User, seal

USER_ID = 1
EMAIL = "alice@example.com"
PASSWORD = "Passw0rd!alice"
COOKIE = seal("alice")

WEBSHOP, SCRATCH, ORDERS = 1, 2, 3

LOCAL, INSTALLED, PUBLIC = LOCAL_FOLDER, *GITHUB_KINDS
GEMMA = "google/gemma-2-27b-it"


def project(id: int, name: str, kind: str, language: str, created_at: str, description: str | None = None) -> Record:
    about = {"name": name, "description": description, "type": kind, "main_language": language}
    return {"id": id, **about, **signature(created_at)}


def source(
    id: int, project_id: int, kind: str, path: str, created_at: str, status: str = "completed", **more: Any
) -> Record:
    """An import with the fields of both contracts.

    installation_id is neither's: it tells which of the project's github-installations it came through.
    """
    about = {"source_type": kind, "source_path": path, "source_ref": None, "import_status": status}
    others = dict.fromkeys(("error_message", "file_tree", "title", "description", "installation_id"))
    return {"id": id, **about, **others, **more, **signature(created_at), "project_id": project_id}


def file(id: int, title: str | None, text: str, language: str, extension: str, created_at: str | None) -> Record:
    about = {"title": title, "text": text, "language": language, "extension": extension}
    return {"id": id, **about, **signature(created_at)}


def collection(id: int, name: str, description: str | None, is_shared: bool, created_at: str | None) -> Record:
    share_uuid = f"6f1c2b1e-94d3-4c58-a7e2-0000000000{id}"
    about = {"name": name, "description": description, "is_shared": is_shared, "share_uuid": share_uuid}
    return {"id": id, **about, **signature(created_at)}


def installation(id: int, kind: str, account: int, name: str | None, created_at: str) -> Record:
    return {
        "id": id,
        "github_account_type": kind,
        "github_account_avatar_url": f"https://avatars.githubusercontent.com/u/{account}?v=4",
        "github_account_id": account,
        "github_account_name": name,
        **signature(created_at),
        "github_installation_id": id,
    }


def chat(id: int, name: str, model: str, created_at: str) -> Record:
    return {"id": id, "name": name, "model": model, **signature(created_at)}


def signature(created_at: str | None) -> Record:
    """The last fields of every record. created_at: day and time, or null."""
    at = created_at and f"{created_at.replace(' ', 'T')}.000Z"
    return {"created_at": at, "updated_at": at, "neptun_user_id": USER_ID}


WEBSHOP_TREE: Record = {
    "name": "webshop",
    "children": [{"name": "Dockerfile"}, {"name": "pages", "children": [{"name": "index.vue"}]}],
}

PROJECTS = [
    project(ORDERS, "orders-api", "web-service", "python", "2026-08-03 09:12:44", "Takes the shop's orders"),
    project(WEBSHOP, "webshop", "web-app", "typescript", "2026-06-15 08:00:00", "A tea shop and its checkout"),
    project(SCRATCH, "scratch", "web-site", "typescript", "2026-10-20 21:05:13"),
]

IMPORTS = [
    source(104, WEBSHOP, LOCAL, "/home/alice/webshop", "2026-09-02 10:15:00", file_tree=WEBSHOP_TREE),
    source(101, WEBSHOP, INSTALLED, "alice/webshop", "2026-06-15 08:20:31", source_ref="main", installation_id=11)
    | {"title": "The shop itself", "description": "Storefront, checkout and the pages around them"},
    source(107, WEBSHOP, PUBLIC, "https://github.com/example/tea-icons", "2026-10-11 14:02:58", "pending")
    | {"source_ref": "v3", "title": "Icons"},
    source(102, WEBSHOP, LOCAL, "C:\\Users\\alice\\Desktop\\old shop", "2026-07-08 19:45:10", "failed")
    | {"error_message": "The folder holds more than 10,000 files", "title": "The shop before the move"},
    source(106, WEBSHOP, INSTALLED, "tea-shop-team/design", "2026-09-30 11:11:11", "processing")
    | {"source_ref": "release", "installation_id": 12},
    source(103, WEBSHOP, LOCAL, "/srv/shop/nginx", "2026-09-02 10:15:00", title="Proxy configuration"),
    source(105, WEBSHOP, PUBLIC, "https://github.com/example/checkout-forms", "2026-09-02 10:15:00", "failed")
    | {"error_message": "The repository does not exist, or is private"},
    source(202, ORDERS, LOCAL, "/home/alice/orders", "2026-08-03 09:30:00", "pending"),
    source(201, ORDERS, INSTALLED, "alice/orders-api", "2026-08-03 09:21:07", source_ref="main", installation_id=31),
]

RESOURCES = {
    (WEBSHOP, "user-files"): [
        file(3, "deploy", texts.WORKFLOW, "yaml", "yml", "2026-08-14 13:37:20"),
        file(1, "Dockerfile", texts.DOCKERFILE, "dockerfile", "dockerfile", "2026-06-15 09:01:12"),
        file(7, None, texts.NOTE, "text", "txt", None),
        file(6, "runbook", texts.RUNBOOK, "markdown", "md", "2026-10-02 20:18:41"),
        file(2, "docker-compose", texts.COMPOSE, "yaml", "yml", "2026-06-15 09:01:12"),
        file(5, "README", texts.README, "markdown", "md", None),
        file(4, "nginx", texts.NGINX, "nginx", "conf", "2026-09-02 10:40:00"),
    ],
    (WEBSHOP, "template-collections"): [
        collection(22, "compose", None, False, "2026-09-17 12:00:00"),
        collection(21, "node containers", "Dockerfiles for Node services", True, "2026-06-20 17:25:36"),
        collection(23, "proxies", "nginx in front of anything", False, None),
    ],
    (WEBSHOP, "github-installations"): [
        installation(12, "Organization", 901234, "tea-shop-team", "2026-09-30 11:05:00"),
        installation(11, "User", 70110, "alice", "2026-06-15 08:19:02"),
        installation(13, "Organization", 955500, None, "2026-10-05 08:08:08"),
    ],
    (WEBSHOP, "chat-conversations"): [
        chat(62, "Smaller image", GEMMA, "2026-06-16 10:00:00"),
        chat(64, "Certificates on Mondays", "mistralai/Mistral-Nemo-Instruct-2407", "2026-10-12 15:45:00"),
        chat(61, "First Dockerfile", GEMMA, "2026-06-15 08:55:00"),
        chat(63, "Health checks", "qwen/Qwen2.5-72B-Instruct", "2026-06-16 10:00:00"),
    ],
    (ORDERS, "user-files"): [
        file(9, "env.example", texts.ORDERS_ENV, "text", "env", "2026-08-03 10:05:00"),
        file(8, "Dockerfile", texts.ORDERS_DOCKERFILE, "dockerfile", "dockerfile", "2026-08-03 10:05:00"),
    ],
    (ORDERS, "github-installations"): [installation(31, "User", 70110, "alice", "2026-08-03 09:20:00")],
    (ORDERS, "chat-conversations"): [chat(41, "Retry the payments", GEMMA, "2026-08-21 16:40:05")],
}


def sample_data() -> Store:
    """A fresh store, in which Alice has the session COOKIE."""
    alice = User(USER_ID, EMAIL, PASSWORD)
    return Store([alice], *deepcopy((PROJECTS, IMPORTS, RESOURCES)), {COOKIE: alice})
