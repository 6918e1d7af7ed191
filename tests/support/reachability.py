"""Which source files a stage can execute, function by function: a twin of no library, for dvc.yaml is held against it.

A function is reached when its name stands in reached code (so do methods with their class); what it imports counts then, and
not before. Modules that are found by name are followed by the parameters of the stage's key.
"""

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("people", "stages")


class Node(NamedTuple):
    """A module's own statements (name ""), or one of its functions or classes."""

    module: str
    name: str


class Code(NamedTuple):
    """What a node's code mentions: modules it imports, names, loads by name such as ("systems", "data"), modules in strings."""

    imports: frozenset[str]
    names: frozenset[str]
    found: frozenset[tuple[str, str]]


def reachable(script: str, key: str, params: Mapping[str, Any]) -> set[Path]:
    """Every source file that the stage `python -m script key` can execute with these parameters."""
    modules: set[str] = set()
    nodes: set[Node] = set()
    names: set[str] = set()
    waiting_modules = {script}
    while True:
        modules |= {parent for module in waiting_modules for parent in parents(module)}
        new = {
            node
            for module in modules
            for node in code_of(module)
            if node not in nodes and (node.name == "" or module == script or node.name in names)
        }
        if not new:
            return {file_of(module) for module in modules}
        nodes |= new
        waiting_modules = set()
        for node in new:
            code = code_of(node.module)[node]
            names |= code.names
            waiting_modules |= code.imports
            waiting_modules |= {name for call in code.found for name in found_modules(*call, key, params)}


def parents(module: str) -> Iterator[str]:
    """The module and the packages around it."""
    parts = module.split(".")
    return (".".join(parts[: depth + 1]) for depth in range(len(parts)))


def found_modules(package: str, part: str, key: str, params: Mapping[str, Any]) -> Iterator[str]:
    """The modules that `systems.find`, `datasets.find` and `motion.find` can give for this key."""
    if package == "systems":
        yield f"people.systems.{key}.{part}"
    elif package == "datasets":
        yield f"people.datasets.{params['systems'][key]['dataset'] if key in params['systems'] else key}"
    elif package == "motion":
        yield f"people.synth.motion.{params['datasets'][key]['source']}"


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def exists(module: str) -> bool:
    return module.split(".")[0] in PACKAGES and file_of(module).is_file()


@functools.cache
def code_of(module: str) -> dict[Node, Code]:
    """A module's own statements and each of its top-level functions and classes."""
    tree = ast.parse(file_of(module).read_text())
    bodies: dict[str, list[ast.AST]] = {"": []}
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bodies.setdefault(statement.name, []).append(statement)
            bodies[""] += [*statement.decorator_list, *(statement.bases if isinstance(statement, ast.ClassDef) else [])]
        else:
            bodies[""].append(statement)
    return {Node(module, name): mentioned(body) for name, body in bodies.items()}


def mentioned(body: list[ast.AST]) -> Code:
    imports, names, found = set(), set(), set()
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            imports |= {node.value} if node.value.startswith(PACKAGES) and "." in node.value else set()
        match node:
            case ast.Call(ast.Attribute(ast.Name(package), "find"), [_, *rest]):
                part = rest[0].value if rest and isinstance(rest[0], ast.Constant) else ""
                found.add((package, str(part)))
    return Code(frozenset(filter(exists, imports)), frozenset(names), frozenset(found))


def with_code(files: set[Path]) -> set[Path]:
    """The files without those of packages that hold no more than a docstring: these can change no result."""
    return {path for path in files if path.name != "__init__.py" or has_code(path)}


@functools.cache
def has_code(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
