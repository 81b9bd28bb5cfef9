"""How large the library is: ``python tools/code_lines.py`` prints lines of code, room by room and file by file.

A line of code has code on it: blank lines, comments and docstrings do not count.
"""

import ast
import io
import pathlib
import sys
import tokenize
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "ast_lib"
OUTSIDE = ("published", "browser", "book")  # rooms beside the core
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


class Size(NamedTuple):
    """Of a file: its room, its lines, those with code, its longest function and the most arguments of a constructor."""

    room: str
    lines: int
    code: int
    longest: int
    arguments: int


def measure(path: pathlib.Path, library: pathlib.Path = LIBRARY) -> Size:
    """The size of one file of the library."""
    text = path.read_text(encoding="utf-8")
    tree, code, docstrings = ast.parse(text), set(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, node.end_lineno + 1))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [node.end_lineno - node.lineno + 1 for node in functions]
    constructors = [node.args for node in functions if node.name == "__init__"]
    arguments = [len(each.posonlyargs) + len(each.args) + len(each.kwonlyargs) - 1 for each in constructors]
    parts = path.relative_to(library).parts
    room = parts[0] if len(parts) > 1 else "ground"
    return Size(room, text.count("\n"), len(code - docstrings), max(lengths, default=0), max(arguments, default=0))


def sizes(library: pathlib.Path = LIBRARY) -> dict[str, Size]:
    """The size of every file, by its path in the library."""
    return {str(path.relative_to(library)): measure(path, library) for path in sorted(library.rglob("*.py"))}


def core(found: dict[str, Size]) -> int:
    """Lines of code outside of the rooms beside the core."""
    return sum(size.code for size in found.values() if size.room not in OUTSIDE)


def main() -> int:
    found = sizes()
    for room in dict.fromkeys(size.room for size in found.values()):
        files = {name: size for name, size in found.items() if size.room == room}
        print(f"{sum(size.code for size in files.values()):5d}  {room}")
        for name, size in files.items():
            print(f"{size.code:13d}  {name} ({size.lines} lines)")
    print(f"{core(found):5d}  in the core, without {' and '.join(OUTSIDE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
