"""Build the MCPB bundle: `python packaging/bundle.py` writes `dist/neptun-mcp-VERSION.mcpb`."""

import json
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).parents[1]


def build(folder: Path) -> Path:
    """Write the bundle into a folder, which is made if it is missing."""
    manifest = ROOT / "packaging" / "manifest.json"
    package = [path for path in sorted((ROOT / "neptun_mcp").rglob("*")) if "__pycache__" not in path.parts]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"neptun-mcp-{json.loads(manifest.read_text('utf-8'))['version']}.mcpb"
    with ZipFile(target, "w", ZIP_DEFLATED) as bundle:
        bundle.write(manifest, manifest.name)
        # What uv needs to install the package, on the person's machine.
        for path in (ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", *package):
            # Hosts fail at entries for folders.
            if path.is_file():
                bundle.write(path, path.relative_to(ROOT).as_posix())
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{build(ROOT / 'dist')}\n")
