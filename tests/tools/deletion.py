"""What the tests of a deletion share."""

from __future__ import annotations

from neptun_mcp.sandbox.state import Store
from tests.support import WEBSHOP, Host, Json, resources

DELETE_104 = f"DELETE {resources(WEBSHOP, 'imports/104')}"
NOT_THERE = (
    "There is no import 104 in project 1. Nothing was deleted. It may be gone already, or be in another project; none "
    "was looked at. To find it, call list_imports with project * and query id:104."
)
EVERYTHING = {101, 102, 103, 104, 105, 106, 107, 201, 202, 301}
"""The ids of all imports in the sample data."""


def kept(store: Store) -> set[int]:
    return {record["id"] for record in store.imports}


def remove(store: Store, *import_ids: int) -> None:
    store.imports[:] = [record for record in store.imports if record["id"] not in import_ids]


async def delete_104(host: Host) -> Json:
    return await host.gets("delete_import", project_id=WEBSHOP, import_id=104)
