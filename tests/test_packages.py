"""What is published: the wheel, the sdist, the bundle and the registry's entry hold what the code says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import metadata
from pathlib import Path
from runpy import run_path
from typing import Any
from zipfile import ZipFile

import httpx2 as httpx
import pytest
import tomlkit
from jsonschema.validators import validator_for
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from neptun_mcp import Settings
from neptun_mcp._version import __version__
from neptun_mcp.tools import create_tools
from tests.support import WEBSHOP, Json, content_of

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
RENEW = "python -m tests.test_packages"
needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files are listed by git, and this is no clone")


def read(name: str) -> Json:
    return json.loads((PACKAGING / name).read_text("utf-8"))


def files(*paths: str) -> set[str]:
    """The files of the repository, those included that will be added to it with the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


# The wheel and the sdist


def build(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, capture_output=True, check=True)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked sdist."""
    pytest.importorskip("hatchling", reason="nothing can be built: hatchling, of the extra dev, is not installed")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"neptun_mcp-{__version__}"


@needs_git
def test_the_sdist_holds_every_file_that_is_not_hidden_and_what_docker_leaves_out(sdist: Path) -> None:
    held = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    published = {name for name in files() if not name.startswith(".")} | {".dockerignore"}
    assert held - {"PKG-INFO", ".gitignore"} == published


@needs_git
def test_the_wheel_built_from_the_sdist_holds_the_package_and_nothing_else(sdist: Path, tmp_path: Path) -> None:
    with ZipFile(build("wheel", sdist, tmp_path)) as wheel:
        names = set(wheel.namelist())
        about = f"neptun_mcp-{__version__}.dist-info"
        metadata = {
            f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
        }
        assert names == files("neptun_mcp") | metadata
        assert "neptun-mcp = neptun_mcp.cli:main" in wheel.read(f"{about}/entry_points.txt").decode()


def test_the_readme_of_a_package_index_links_to_files_of_this_version(sdist: Path) -> None:
    """It is shown there alone, so that a relative link would lead nowhere."""
    page = (sdist / "PKG-INFO").read_text("utf-8")
    (repository,) = re.findall(r"^Project-URL: Repository, (.*)$", page, re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)#]+)", page) if link.startswith(repository)]
    paths = [re.sub(rf"^{repository}/(blob|raw)/v{re.escape(__version__)}/", "", link) for link in links]
    assert [path for path in paths if not (sdist / path).is_file()] == []
    assert f"({repository}/raw/v{__version__}/docs/demo.svg)" in page
    readme = (sdist / "README.md").read_text("utf-8")
    assert len(links) == len(re.findall(r"\]\((?!https:|#)", readme))


# The bundle and the registry's entry


def option(name: str) -> Json:
    """What the bundle says of a setting that hosts ask for, as far as the code knows it."""
    field = Settings.model_fields[name]
    kind = "boolean" if field.annotation is bool else "string"
    secret = {"sensitive": True} if "SecretStr" in repr(field.annotation) else {}
    default = {} if field.default is None else {"default": field.default}
    return {"type": kind, **secret, **default}


def variable(name: str, asked: Json) -> Json:
    """An environment variable as the registry describes it, from what the bundle says of the setting."""
    of_kind = {"format": "boolean"} if asked["type"] == "boolean" else {}
    default = {"default": str(asked["default"]).lower()} if "default" in asked else {}
    secret = {"isSecret": True} if "sensitive" in asked else {}
    return {"name": f"NEPTUN_{name.upper()}", "description": asked["description"], **of_kind, **default, **secret}


def as_the_code_has_it(manifest: Json, server: Json) -> tuple[Json, Json]:
    """The manifest of the bundle and the registry's entry, with everything in them that is the code's to say."""
    options = {name: {**asked, **option(name)} for name, asked in manifest["user_config"].items()}
    config: Json = manifest["server"]["mcp_config"]
    env = {f"NEPTUN_{name.upper()}": f"${{user_config.{name}}}" for name in options}
    manifest = {
        **manifest,
        "version": __version__,
        "server": {**manifest["server"], "mcp_config": {**config, "env": env}},
        "tools": [{"name": tool.name, "description": tool.description} for tool in create_tools()],
        "user_config": options,
    }
    (package,) = server["packages"]
    variables = [variable(name, asked) for name, asked in options.items()]
    package = {**package, "version": __version__, "environmentVariables": variables}
    project: Json = tomlkit.parse((ROOT / "pyproject.toml").read_text("utf-8")).unwrap()["project"]
    repository = {"url": project["urls"]["Repository"], "source": "github"}
    return manifest, {**server, "version": __version__, "packages": [package], "repository": repository}


def renew() -> None:
    renewed = as_the_code_has_it(read("manifest.json"), read("server.json"))
    for name, content in zip(("manifest.json", "server.json"), renewed, strict=True):
        (PACKAGING / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def test_the_bundle_and_the_registry_say_what_the_code_says() -> None:
    described = read("manifest.json"), read("server.json")
    assert described == as_the_code_has_it(*described), f"run {RENEW}"


def test_the_readme_names_the_registrys_entry() -> None:
    """The registry looks for this line in the README of the published package."""
    assert re.findall(r"mcp-name: (\S+)", (ROOT / "README.md").read_text("utf-8")) == [read("server.json")["name"]]


def test_the_bundle_runs_on_the_versions_of_python_of_the_package() -> None:
    assert read("manifest.json")["compatibility"]["runtimes"]["python"] == metadata("neptun-mcp")["Requires-Python"]


def validator(schema: Json) -> Any:
    return validator_for(schema)(schema)


def schema(name: str) -> Any:
    return validator(json.loads((ROOT / "tests" / "schemas" / name).read_text("utf-8")))


@pytest.mark.parametrize(("name", "published"), [("manifest", "mcpb-manifest"), ("server", "registry-entry")])
def test_the_bundle_and_the_registrys_entry_are_what_hosts_and_registry_read(name: str, published: str) -> None:
    schema(f"{published}.json").validate(read(f"{name}.json"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("$schema", "https://static.modelcontextprotocol.io/schemas/2025-07-09/server.schema.json"),
        ("name", "neptun-mcp"),
        ("name", "io.github.a/b/c"),
        ("name", "io.github.a/-b"),
        ("title", "x" * 101),
        ("description", "x" * 101),
        ("description", ""),
        ("version", "1.x"),
        ("version", "^1.2.3"),
        ("repository", {"url": "https://example.com/neptun-mcp", "source": "github"}),
        ("repository", {"url": "https://github.com/neptun-mcp/neptun-mcp"}),
        ("status", "active"),
        ("packages/registryType", "npm"),
        ("packages/identifier", "neptun mcp"),
        ("packages/version", "latest"),
        ("packages/transport", {"type": "http"}),
        ("packages/environmentVariables", [{"description": "without a name"}]),
        ("packages/environmentVariables", [{"name": "NEPTUN_READ_ONLY", "format": "bool"}]),
        ("packages/environmentVariables", [{"name": "NEPTUN_READ_ONLY", "default": False}]),
        ("packages/environmentVariables", [{"name": "NEPTUN_READ_ONLY", "isSecret": "no"}]),
    ],
)
def test_the_registry_does_not_take_what_is_not_an_entry(field: str, value: Any) -> None:
    entry = read("server.json")
    of_package, _, name = field.rpartition("/")
    (entry["packages"][0] if of_package else entry)[name] = value
    assert not schema("registry-entry.json").is_valid(entry)


@pytest.mark.skipif("TEST_NETWORK" not in os.environ, reason="its published schema is fetched: set TEST_NETWORK=1")
def test_the_registrys_entry_is_valid_by_the_schema_that_it_names() -> None:
    entry = read("server.json")
    validator(httpx.get(entry["$schema"]).raise_for_status().json()).validate(entry)


# Servers over HTTP

REMOTE = (ROOT / "docs" / "remote.md").read_text("utf-8")


def yaml(text: str) -> list[Any]:
    module: Any = pytest.importorskip("yaml", reason="PyYAML, of the extra dev, is not installed")
    return list(module.safe_load_all(text))


def test_the_files_for_containers_are_what_their_programs_read() -> None:
    (ingress,) = re.findall(r"```yaml\n(apiVersion: networking.*?)```", REMOTE, re.DOTALL)
    cluster = yaml((PACKAGING / "kubernetes.yaml").read_text("utf-8")) + yaml(ingress)
    assert [document["kind"] for document in cluster] == ["Deployment", "Service", "PodDisruptionBudget", "Ingress"]
    for document in cluster:
        schema("kubernetes.json").validate(document)
    (services,) = yaml((PACKAGING / "compose.yaml").read_text("utf-8"))
    schema("compose.json").validate(services)


def test_nginx_asks_the_servers_of_compose_which_can_be_updated_one_by_one() -> None:
    """Replicas of one service are all replaced at once."""
    compose = (PACKAGING / "compose.yaml").read_text("utf-8")
    (services,) = (document["services"] for document in yaml(compose))
    servers = [name for name, service in services.items() if service["image"] == "neptun-mcp"]
    assert len(servers) == 2
    assert list(services["nginx"]["depends_on"]) == servers
    (port,) = re.findall(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    asked = re.findall(r"^ +server (\S+) ", (PACKAGING / "nginx.conf").read_text("utf-8"), re.MULTILINE)
    assert asked == [f"{name}:{port}" for name in servers]
    assert f"for server in {' '.join(servers)}; do" in compose


def test_the_settings_for_containers_are_settings() -> None:
    names = re.findall(r"^(\w+)=", (PACKAGING / "neptun-mcp.env.example").read_text("utf-8"), re.MULTILINE)
    assert {name.removeprefix("NEPTUN_").lower() for name in names} < Settings.model_fields.keys()


def test_the_cluster_runs_this_version_and_asks_what_the_server_answers() -> None:
    cluster = (PACKAGING / "kubernetes.yaml").read_text("utf-8")
    assert re.findall(r"image: \S+:(.*)", cluster) == [__version__]
    assert set(re.findall(r"path: (\S+),", cluster)) == {"/health", "/ready"}


def test_nginx_in_front_of_containers_does_what_the_documentation_says() -> None:
    (documented,) = re.findall(r"```nginx\n(.*?)```", REMOTE, re.DOTALL)
    only_there = re.compile(
        r"^ *(access_log|listen|proxy_connect_timeout|server|server_name|ssl_certificate|ssl_certificate_key) .*;.*\n",
        re.MULTILINE,
    )
    configuration = (PACKAGING / "nginx.conf").read_text("utf-8").partition("\n\n")[2]
    assert only_there.sub("", configuration) == only_there.sub("", documented)


# The bundle, unpacked


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked bundle, as it is built for people."""
    folder = tmp_path_factory.mktemp("bundle")
    run_path(str(PACKAGING / "bundle.py"))["build"](folder)
    with ZipFile(folder / f"neptun-mcp-{__version__}.mcpb") as archive:
        assert not any(entry.is_dir() for entry in archive.infolist())  # hosts fail at them
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@needs_git
def test_the_bundle_holds_the_package_and_what_uv_needs_to_install_it(bundle: Path) -> None:
    held = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    beside = {"manifest.json", "icon.png", "pyproject.toml", "README.md", "LICENSE"}
    assert held == files("neptun_mcp") | beside
    assert (bundle / read("manifest.json")["server"]["entry_point"]).is_file()
    assert (bundle / read("manifest.json")["icon"]).is_file()


def test_the_bundle_leaves_out_what_lies_about_and_takes_files_of_any_age(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "neptun_mcp").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "neptun_mcp/__init__.py", "neptun_mcp/py.typed"):
        (clone / name).touch()
        os.utime(clone / name, (0, 0))
    for name in (".env", "neptun_mcp/.env", "neptun_mcp/notes.txt"):
        (clone / name).write_text("NEPTUN_PASSWORD=secret")
    build = run_path(str(PACKAGING / "bundle.py"))["build"]
    with ZipFile(build(tmp_path / "dist", clone)) as archive:
        beside = {"manifest.json", "icon.png", "pyproject.toml", "README.md", "LICENSE"}
        assert set(archive.namelist()) == beside | {"neptun_mcp/__init__.py", "neptun_mcp/py.typed"}
    (clone / "LICENSE").unlink()
    with pytest.raises(FileNotFoundError):
        build(tmp_path / "other", clone)
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.anyio
@pytest.mark.skipif("TEST_NETWORK" not in os.environ, reason="uv downloads what the bundle needs: set TEST_NETWORK=1")
async def test_the_bundle_starts_by_its_own_command(bundle: Path) -> None:
    manifest = read("manifest.json")
    config = manifest["server"]["mcp_config"]
    values = {"__dirname": str(bundle)}
    values |= {
        f"user_config.{name}": str(asked.get("default", "")).lower() for name, asked in manifest["user_config"].items()
    }

    def filled_in(text: str) -> str:
        """As hosts do it, which leave what a person has not filled in as it is."""
        return re.sub(r"\$\{(.*?)\}", lambda found: values[found[1]] or found[0], text)

    command = StdioServerParameters(
        command=config["command"],
        args=[filled_in(argument) for argument in config["args"]],
        env={**os.environ, **{name: filled_in(value) for name, value in config["env"].items()}, "NEPTUN_SANDBOX": "1"},
    )
    async with Client(stdio_client(command)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [tool["name"] for tool in manifest["tools"]]
        assert content_of(await client.call_tool("list_imports", {"project_id": WEBSHOP}))["total"] == 7


if __name__ == "__main__":
    renew()
