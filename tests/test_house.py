"""The house: packages in the order of the data, imports that point upwards, one map in three places, thin walls."""

import ast

import pytest

import ast_lib
import code_lines
from ast_lib.book.display import map_of_the_library, packages
from ast_lib.config import Config
from chapter_dependencies import imported_names

GROUND = ("errors", "files", "processes", "environment", "checked")
ORDER = ["ground", *packages()]
# Most lines of code of the core, which only falls; most lines of a file and of a function, arguments of a constructor.
CORE, FILE, FUNCTION, CONSTRUCTOR = 4012, 300, 60, 8


def package_of(parts):
    """Package of a module by the parts of its dotted name below the library."""
    return "ground" if parts[0] in GROUND else parts[0]


@pytest.fixture(scope="module")
def imports(root):
    """Package of each file, and the packages that it imports."""
    found = {}
    for path in sorted((root / "ast_lib").rglob("*.py")):
        parts = path.relative_to(root / "ast_lib").with_suffix("").parts
        if parts in (("__init__",), ("__main__",)):
            continue
        package = ".".join(("ast_lib", *parts[:-1]))
        names = imported_names(path.read_text(encoding="utf-8"), str(path), package)
        asked = {tuple(name.split(".")[1:]) for name in names if name.startswith("ast_lib.")}
        found["/".join(parts)] = package_of(parts), {package_of(name) for name in asked}
    return found


def test_the_map_names_every_package_and_no_other(root):
    folders = {path.name for path in (root / "ast_lib").iterdir() if (path / "__init__.py").is_file()}
    assert set(packages()) == folders | {"config"} and len(packages()) == 12


def test_every_package_begins_with_its_line_of_the_map(root):
    for name, text in packages().items():
        path = root / "ast_lib" / (f"{name}/__init__.py" if name != "config" else "config.py")
        first = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
        assert first == f"{name.capitalize()}: {text}." and len(text) <= 95, name


def test_arrows_point_upwards_only(imports):
    wrong = [
        (name, other)
        for name, (own, asked) in imports.items()
        for other in asked
        if other != own and other in ORDER and ORDER.index(other) > ORDER.index(own)
    ]
    assert wrong == []


def test_nothing_in_the_library_imports_the_wings(imports):
    """Only the paper's system imports itself, only the command the export, only chapters the package that is theirs."""
    for wing in ("published", "browser", "book"):
        assert [name for name, (own, asked) in imports.items() if wing in asked and own != wing] == [], wing


def test_the_readme_and_the_drawing_have_the_same_map(root):
    lines = [line.removeprefix("    ") for line in ast_lib.__doc__.splitlines() if line.startswith("    ")]
    assert len(lines) == len(packages())
    assert "\n".join(["```", *lines, "```"]) in (root / "README.md").read_text(encoding="utf-8")
    drawn = [" ".join(text.get_text().split()) for text in map_of_the_library().axes[0].texts]
    assert [text for text in drawn if text] == [part for pair in packages().items() for part in pair]


def test_the_core_stays_thin():
    found = code_lines.sizes()
    assert code_lines.core(found) <= CORE
    assert {name: size.lines for name, size in found.items() if size.lines > FILE} == {}
    assert {name: size.longest for name, size in found.items() if size.longest > FUNCTION} == {}
    assert {name: size.arguments for name, size in found.items() if size.arguments > CONSTRUCTOR} == {}


def test_what_counts_as_a_line_of_code(tmp_path):
    path = tmp_path / "room" / "file.py"
    path.parent.mkdir()
    path.write_text(
        '"""Two\nlines."""\n\nx = [  # a comment\n    1,\n]\n\n\ndef f(a):\n    """Doc."""\n    # why\n    return a\n'
    )
    size = code_lines.measure(path, tmp_path)
    assert size == ("room", 12, 5, 4, 0)
    path.write_text("class C:\n    def __init__(self, a, *, b=1):\n        self.a = '''no\ndocstring'''\n")
    assert code_lines.measure(path, tmp_path)[2:] == (4, 3, 2)


def test_the_configuration_fits_on_a_page():
    """All fields, those of the sections and of a phase of the curriculum too."""
    import dataclasses

    config = Config("x")
    sections = [getattr(config, name) for name in ("data", "representation", "model", "loss", "training")]
    kinds = [type(each) for each in (config, *sections, config.curriculum[0])]
    assert sum(len(dataclasses.fields(kind)) for kind in kinds) <= 50
