"""Whether a pack has all that its notebooks import, and its own library: ``python check_pack.py``."""

import ast
import importlib.util
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def imported(path: pathlib.Path) -> set[str]:
    """The modules that the code cells of a notebook import."""
    names: set[str] = set()
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []
        code = "\n".join("" if line.startswith(("%", "!")) else line for line in lines)
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return names


def is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


notebooks = sorted((HERE / "chapters").glob("*.ipynb"))
missing = sorted(name for name in set().union(*map(imported, notebooks)) if not is_there(name))
if missing:
    sys.exit(f"missing for {sys.executable}: {', '.join(missing)}")
library = pathlib.Path(importlib.util.find_spec("ast_lib").origin).parent
if library != HERE / "ast_lib":
    sys.exit(f"ast_lib is that of {library}, not of this pack; start with: bash start.sh")
print(f"Everything is there for {len(notebooks)} notebooks.")
