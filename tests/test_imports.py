"""The table of docs/design.md: who may import whom; and what `import toolkit.cli` must not load."""

import ast
import os
import subprocess
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "toolkit"
CORE = "core"
ROOMS = {"models": {CORE}, "features": {CORE}, "result": {CORE}, "extract": {CORE, "models", "features"},
         "probe": {CORE, "features", "result"}, "finetune": {CORE, "models", "result"}}  # fmt: skip
HEAVY = (
    "torch",
    "transformers",
    "sklearn",
    "lightgbm",
    "optuna",
    "pandas",
    "numpy",
    "altair",
    "h5py",
    "scipy",
    "soundfile",
)
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    return ".".join(("toolkit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """The room, "cli", or "core"; "" for the package itself, which holds the version and nothing else."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return ""
    return parts[1] if parts[1] in ROOMS or parts[1] == "cli" else CORE


def imports(tree: ast.AST) -> list[tuple[str, ast.AST]]:
    """The modules of the package that a piece of code imports, each in full, with its node."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where they lead"
            assert node.module is not None
            found += [
                (f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module, node)
                for alias in node.names
            ]
    return [(name, node) for name, node in found if name.split(".")[0] == "toolkit"]


def at_import(path: Path) -> list[ast.stmt]:
    """The statements that run when the module is imported: none inside functions."""
    waiting: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    run = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            run.append(node)
        waiting += ast.iter_child_nodes(node)
    return run


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    allowed = {CORE} if room == CORE else {room, *ROOMS.get(room, set())}
    if room == "cli" or module == "toolkit.__main__":
        allowed = {CORE, "cli", *ROOMS}
    wrong = [
        name for name, _ in imports(ast.parse(path.read_text(encoding="utf-8"))) if room_of(name) not in {"", *allowed}
    ]
    assert wrong == []


def test_core_modules_import_downwards_even_inside_functions() -> None:
    graph = {
        module: {name for name, _ in imports(ast.parse(path.read_text(encoding="utf-8")))} - {"toolkit"}
        for module, path in MODULES.items()
        if room_of(module) == CORE
    }
    order = list(TopologicalSorter(graph).static_order())  # a cycle raises CycleError
    assert order.index("toolkit.errors") < order.index("toolkit.runs") < order.index("toolkit.splits")


def test_no_module_imports_itself_through_others() -> None:
    graph = {}
    for module, path in MODULES.items():
        graph[module] = {name for node in at_import(path) for name, _ in imports(node)} - {module, "toolkit"}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)  # a cycle raises CycleError


@pytest.mark.parametrize(
    "path", [path for path in FILES if room_of(module_of(path)) == "cli"], ids=lambda path: path.stem
)
def test_the_command_line_imports_rooms_inside_its_functions(path: Path) -> None:
    outside = {name for node in at_import(path) for name, _ in imports(node)}
    assert [name for name in outside if room_of(name) in ROOMS] == []


def test_the_command_line_loads_nothing_heavy() -> None:
    if not any(room_of(module) == "cli" for module in MODULES):
        pytest.skip("there is no command line yet")
    code = f"import sys, toolkit.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_help_is_given_at_once() -> None:
    """The time is printed and not asserted: machines are shared."""
    if not any(room_of(module) == "cli" for module in MODULES):
        pytest.skip("there is no command line yet")
    started = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "toolkit", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    print(f"toolkit --help: {time.perf_counter() - started:.2f} s")
    assert shown.returncode == 0, shown.stderr
    assert "Usage: " in shown.stdout


def test_the_package_itself_holds_the_version_and_nothing_else() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Expr, ast.Assign]
