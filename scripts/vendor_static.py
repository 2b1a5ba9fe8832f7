#!/usr/bin/env python3
"""Put the third-party parts of the web app into pide/static/vendor, from pinned npm packages.

usage: python scripts/vendor_static.py           fetch, bundle, write the files and vendor/manifest.json
       python scripts/vendor_static.py --check   compare the committed files with the manifest (offline)

The app itself has no build step: what this writes is committed, so nobody needs Node.js to run Hyper-Pi.
Each package is bundled by esbuild into one ES module, because lit-html and highlight.js are spread over many
files and DOMPurify ships no minified module. npm verifies every package against the sha512 below.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "pide" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"
SHIMS = Path(__file__).resolve().parent / "vendor"
MAX_TOTAL_BYTES = 850_000  # the half of it is xterm.js, which is loaded when a terminal is opened

# name: (version, integrity as the registry gives it)
PINS = {
    "lit-html": (
        "3.3.3",
        "sha512-el8M6jK2o3RXBnrSHX3ZKrsN8zEV63pSExTO1wYJz7QndGYZ8353e2a5PPX+qHe2aGayfnchQmkAojaWAREOIA==",
    ),
    "marked": (
        "18.2.1",
        "sha512-ii4bxCTCqqwpT86XZWgJNs+ZnAIZksmLGYMViWA7PDIXYIeNo1x6cDdX3JOip9NM/cI6p8z57FxliACboTruMA==",
    ),
    "dompurify": (
        "3.4.18",
        "sha512-ofe3wI/uNm68HInABYFJYqQxRw1EaKAjNdrFVKqjUY+UZurvNd2L/HuQe097s/4RivWiZyP6tT7aoT8atjfhwg==",
    ),
    "highlight.js": (
        "11.12.0",
        "sha512-nbfWpyRMcMrPMmDwJB+dhX/eiaPKtc2RB+0QZskqJ3WjRA/FDS0e9hZrx8EC/lbEv8gXy98FcDbNa/dspAaJMg==",
    ),
    "@xterm/xterm": (
        "6.0.0",
        "sha512-TQwDdQGtwwDt+2cgKDLn0IRaSxYu1tSUjgKarSDkUM0ZNiSRXFpjxEsvc/Zgc5kq5omJ+V0a8/kIM2WD3sMOYg==",
    ),
    "@xterm/addon-fit": (
        "0.11.0",
        "sha512-jYcgT6xtVYhnhgxh3QgYDnnNMYTcf8ElbxxFzX0IZo+vabQqSPAjC3c1wJrKB5E19VwQei89QCiZZP86DCPF7g==",
    ),
    "esbuild": (
        "0.28.2",
        "sha512-HKVLS8dvII+xoKW9kmqxbRKrnWEXfJJr/FZhhJmiqIB0e053QNYFqOBouTMO/k5sID4MvCiUCvv8b9M4h32wIA==",
    ),
}

# file written: (package, what the module exports)
ENTRIES = {
    "lit.js": (
        "lit-html",
        """
export {html, svg, render, nothing, noChange} from 'lit-html';
export {Directive, directive} from 'lit-html/directive.js';
export {repeat} from 'lit-html/directives/repeat.js';
export {guard} from 'lit-html/directives/guard.js';
export {keyed} from 'lit-html/directives/keyed.js';
export {live} from 'lit-html/directives/live.js';
export {ref, createRef} from 'lit-html/directives/ref.js';
export {unsafeHTML} from 'lit-html/directives/unsafe-html.js';
""",
    ),
    "marked.js": ("marked", "export {Marked} from 'marked';"),
    "dompurify.js": ("dompurify", "export {default} from 'dompurify';"),
    "highlight.js": ("highlight.js", "export {default} from 'highlight.js/lib/common';"),
    "xterm.js": (
        "@xterm/xterm",
        """
export {Terminal} from '@xterm/xterm';
export {FitAddon} from '@xterm/addon-fit';
export {xtermDocument} from './xterm_document.js';
""",
    ),
}

# More for esbuild: a page's policy on styles reaches into xterm.js, whose way around it is closed.
OPTIONS = {
    "xterm.js": (
        "--inject:./xterm_document.js",
        "--define:document=xtermDocument",
        "--define:window.document=xtermDocument",
    )
}

STYLES = {"xterm.css": ("@xterm/xterm", "css/xterm.css")}

LICENCE_FILES = {
    "lit-html": ["LICENSE"],
    "marked": ["LICENSE"],
    "dompurify": ["LICENSE", "LICENSE-MPL"],
    "highlight.js": ["LICENSE"],
    "@xterm/xterm": ["LICENSE"],
    "@xterm/addon-fit": ["LICENSE"],
}


def npm_install(folder: Path) -> None:
    """Install the pinned packages; npm refuses one whose content differs from its sha512."""
    versions = {name: version for name, (version, _) in PINS.items()}
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": versions}))
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True)
    # The lock that npm writes names the sha512 it verified; a mirror with other content shows there.
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, (version, integrity) in PINS.items():
        package = locked[f"node_modules/{name}"]
        if (package["version"], package["integrity"]) != (version, integrity):
            sys.exit(f"{name}: the registry gave {package['version']} {package['integrity']}")


def bundle(folder: Path, name: str, entry: str, package: str) -> bytes:
    """One minified ES module with a first line that says what it is."""
    (folder / "entry.mjs").write_text(entry)
    licence = licence_file(package, "LICENSE")
    banner = f"/* {package} {PINS[package][0]}; licence: {licence}; by scripts/vendor_static.py */"
    subprocess.run(
        [
            *("node", "node_modules/esbuild/bin/esbuild", "entry.mjs"),
            *("--bundle", "--minify", "--format=esm", "--target=es2022", "--legal-comments=none"),
            *("--charset=utf8", f"--banner:js={banner}", f"--outfile={name}", "--log-level=warning"),
            *OPTIONS.get(name, ()),
        ],
        cwd=folder,
        check=True,
    )
    return (folder / name).read_bytes()


def fetch() -> None:
    """Write every vendored file, its licence, and the manifest."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        npm_install(folder)
        shutil.copytree(SHIMS, folder, dirs_exist_ok=True)
        for name, (package, entry) in ENTRIES.items():
            content = bundle(folder, name, entry, package)
            (VENDOR / name).write_bytes(content)
            files[name] = digest(content)
        for name, (package, path) in STYLES.items():
            shutil.copyfile(folder / "node_modules" / package / path, VENDOR / name)
            files[name] = digest((VENDOR / name).read_bytes())
        for package, licences in LICENCE_FILES.items():
            for licence in licences:
                target = licence_file(package, licence)
                shutil.copyfile(folder / "node_modules" / package / licence, VENDOR / target)
                files[target] = digest((VENDOR / target).read_bytes())
    packages = {
        name: {"version": version, "integrity": integrity} for name, (version, integrity) in PINS.items()
    }
    MANIFEST.write_text(json.dumps({"packages": packages, "files": files}, indent=2, sort_keys=True) + "\n")


def licence_file(package: str, licence: str) -> str:
    """The file that holds a package's licence here."""
    return f"{package.rpartition('/')[2]}.{licence}"


def digest(content: bytes) -> str:
    """How the manifest names a file's content."""
    return "sha256-" + hashlib.sha256(content).hexdigest()


def check() -> list[str]:
    """What differs between the committed files, the manifest and the pins above."""
    manifest = json.loads(MANIFEST.read_text())
    wrong: list[str] = []
    for name, (version, integrity) in PINS.items():
        if manifest["packages"].get(name) != {"version": version, "integrity": integrity}:
            wrong.append(f"{name}: the manifest is of another version than this script")
    for name, expected in manifest["files"].items():
        path = VENDOR / name
        if not path.is_file():
            wrong.append(f"{name}: missing")
        elif digest(path.read_bytes()) != expected:
            wrong.append(f"{name}: changed since it was vendored")
    unknown = {path.name for path in VENDOR.glob("*.[jc]s*") if path.name != MANIFEST.name} - manifest[
        "files"
    ].keys()
    wrong.extend(f"{name}: not in the manifest" for name in sorted(unknown))
    total_bytes = sum(path.stat().st_size for path in VENDOR.iterdir())
    if total_bytes > MAX_TOTAL_BYTES:
        wrong.append(f"{total_bytes} bytes in all, more than {MAX_TOTAL_BYTES}")
    return wrong


def main() -> None:
    """Fetch, or only check."""
    parser = argparse.ArgumentParser(description="Vendor the web app's third-party modules.")
    parser.add_argument("--check", action="store_true", help="only compare with the manifest")
    arguments = parser.parse_args()
    if not arguments.check:
        fetch()
    wrong = check()
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
