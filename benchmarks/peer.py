"""The peer: the server that FastMCP generates from an OpenAPI description of the same three endpoints.

The description is what such a file usually says: paths, parameters, and the shapes that Neptun answers
today. Settings: NEPTUN_BASE_URL, NEPTUN_SESSION_COOKIE; the user's id is an argument of every tool.
"""

# FastMCP need not be installed where this is only checked.
# pyright: basic, reportMissingImports=false

import os
from typing import Any

import httpx2 as httpx
from fastmcp import FastMCP

Schema = dict[str, Any]

IMPORT_SOURCE_TYPES = ["local_folder", "github_repository_installation", "public_github_repository_url"]
RESOURCE_TYPES = ["user-files", "template-collections", "github-installations", "chat-conversations"]


def path_id(name: str, meaning: str) -> Schema:
    """A required positive integer in the path."""
    schema = {"type": "integer", "minimum": 1}
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


def answer(description: str, schema: Schema) -> Schema:
    """The 200 of an operation."""
    return {"200": {"description": description, "content": {"application/json": {"schema": schema}}}}


def array_of(schema_name: str) -> Schema:
    """A bare array of a named schema."""
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{schema_name}"}}


TEXT: Schema = {"type": "string"}
NULLABLE_TEXT: Schema = {"type": "string", "nullable": True}
MOMENT: Schema = {"type": "string", "format": "date-time", "nullable": True}
IDS: Schema = {"id": {"type": "integer"}, "neptun_user_id": {"type": "integer"}}
MOMENTS: Schema = {"created_at": MOMENT, "updated_at": MOMENT}

PROJECT_IMPORT: Schema = {
    "type": "object",
    "required": ["id", "source_type", "source_path"],
    "properties": {
        **IDS,
        "project_id": {"type": "integer"},
        "source_type": {"type": "string", "enum": IMPORT_SOURCE_TYPES},
        "source_path": TEXT,
        "source_ref": NULLABLE_TEXT,
        "import_status": TEXT,
        "error_message": NULLABLE_TEXT,
        "file_tree": {"type": "object", "nullable": True},
        **MOMENTS,
    },
}
RESOURCE: Schema = {
    "type": "object",
    "required": ["id"],
    "properties": {
        **IDS,
        "title": NULLABLE_TEXT,
        "text": TEXT,
        "language": TEXT,
        "extension": TEXT,
        "name": TEXT,
        "description": NULLABLE_TEXT,
        "is_shared": {"type": "boolean"},
        "share_uuid": TEXT,
        "github_account_type": TEXT,
        "github_account_avatar_url": TEXT,
        "github_account_id": {"type": "integer"},
        "github_account_name": NULLABLE_TEXT,
        "model": TEXT,
        **MOMENTS,
    },
}

USER_AND_PROJECT = [path_id("user_id", "The user's id"), path_id("project_id", "The project's id")]
PROJECT_PATH = "/api/users/{user_id}/projects/{project_id}/resources"

OPENAPI: Schema = {
    "openapi": "3.0.3",
    "info": {"title": "Neptun", "version": "1.0.0"},
    "paths": {
        f"{PROJECT_PATH}/imports": {
            "get": {
                "operationId": "listProjectImports",
                "summary": "List the imports of a project",
                "parameters": [
                    *USER_AND_PROJECT,
                    {
                        "name": "import_source_type",
                        "in": "query",
                        "description": "Only imports of this source type",
                        "schema": {"type": "string", "enum": IMPORT_SOURCE_TYPES},
                    },
                ],
                "responses": answer("The imports", array_of("ProjectImport")),
            }
        },
        f"{PROJECT_PATH}/imports/{{import_id}}": {
            "delete": {
                "operationId": "deleteProjectImport",
                "summary": "Delete an import of a project",
                "parameters": [*USER_AND_PROJECT, path_id("import_id", "The import's id")],
                "responses": answer("The import is deleted", {"type": "array", "items": {"type": "object"}}),
            }
        },
        f"{PROJECT_PATH}/{{resource_type}}": {
            "get": {
                "operationId": "listProjectResources",
                "summary": "List the resources of one type that are linked to a project",
                "parameters": [
                    *USER_AND_PROJECT,
                    {
                        "name": "resource_type",
                        "in": "path",
                        "required": True,
                        "description": "Which type of resource",
                        "schema": {"type": "string", "enum": RESOURCE_TYPES},
                    },
                ],
                "responses": answer("The resources", array_of("Resource")),
            }
        },
    },
    "components": {"schemas": {"ProjectImport": PROJECT_IMPORT, "Resource": RESOURCE}},
}


def create_server() -> FastMCP:
    """The server, as FastMCP makes it."""
    cookie = os.environ["NEPTUN_SESSION_COOKIE"]
    client = httpx.AsyncClient(
        base_url=os.environ["NEPTUN_BASE_URL"],
        headers={"Accept": "application/json", "Cookie": f"neptun-session={cookie}"},
        timeout=60,
    )
    return FastMCP.from_openapi(OPENAPI, client=client, name="peer")


def http_app():
    """The same over HTTP, for `uvicorn --factory`."""
    return create_server().http_app(stateless_http=True, json_response=True)


if __name__ == "__main__":
    # The banner asks the package index for a newer version.
    create_server().run("stdio", show_banner=False)
