"""Build the MCPB bundle: `python packaging/bundle.py` writes `dist/neptun-mcp-VERSION.mcpb`."""

import json
import os
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"


def build(folder: Path, root: Path = ROOT) -> Path:
    """Write the bundle of a clone into a folder, which is made if it is missing. A bundle that fails leaves none."""
    manifest = PACKAGING / "manifest.json"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"neptun-mcp-{json.loads(manifest.read_text('utf-8'))['version']}.mcpb"
    unfinished = target.with_suffix(".unfinished")
    try:
        # Files may be older than what ZIP can say, 1980.
        with ZipFile(unfinished, "w", ZIP_DEFLATED, strict_timestamps=False) as bundle:
            for path in (manifest, PACKAGING / "icon.png"):
                bundle.write(path, path.name)
            # What uv needs to install the package, on the person's machine, and nothing else that lies around.
            package = sorted((root / "neptun_mcp").rglob("*.py"))
            for path in (root / "pyproject.toml", root / "README.md", root / "LICENSE", *package):
                bundle.write(path, path.relative_to(root).as_posix())
            bundle.write(root / "neptun_mcp" / "py.typed", "neptun_mcp/py.typed")
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{build(ROOT / 'dist')}\n")
