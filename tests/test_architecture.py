"""The rules of the house, read off the source: who imports whom, what is pure, what never appears, sizes.

Each rule names the place that breaks it. The rooms and their order: docs/ARCHITECTURE.md.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["core", "wire", "runtime", "engines", "nodes", "cli"]  # each imports itself and those before it
CALLBACKS_MAY_USE = {
    "swarm.wire.frame", "swarm.wire.messages", "swarm.wire.tensorbytes", "swarm.runtime.channel",
}  # fmt: skip
PROGRAMS = {"swarm.nodes.demo.worker"}  # run as a user's program would be, and written like one
# Our transport, our muxer, and what libp2p may hold.
LIBP2P_STAYS_IN = {"swarm.runtime.mesh", "swarm.runtime.meshlimits", "swarm.runtime.secure", "swarm.runtime.muxer"}

# The pure rooms import from these lists and from nothing else: an allow-list, so that no clock comes in unnoticed.
VALUES = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "difflib", "enum", "fractions", "functools", "hashlib",
    "heapq", "ipaddress", "itertools", "json", "math", "operator", "re", "reprlib", "statistics", "struct", "types",
    "typing", "uuid",
}  # fmt: skip
PURE = {
    "core": VALUES | {"numpy", "ml_dtypes", "msgpack"},
    "wire": VALUES
    | {"numpy", "ml_dtypes", "datetime", "cryptography", "msgpack", "blake3", "yaml", "pydantic", "pydantic_core"},
}
IMPURE_CALLS = {"open", "print", "input"}
IMPURE_METHODS = {
    "now", "today", "utcnow", "uuid1", "uuid4", "generate", "generate_private_key", "random_serial_number",
    "read_text", "read_bytes", "write_text", "write_bytes", "tofile", "fromfile", "memmap",
}  # fmt: skip
NEVER_IMPORTED = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "examples"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__"}
NEVER_METHODS = {"load_model", "unsafe_load", "full_load"}
FRAMEWORKS = {"keras", "tensorflow", "torch", "jax", "sklearn", "transformers"}
POOR_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 and (ROOT / "swarm" / parts[1]).is_dir() else ""

    def at(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def imports(self, *, at_load: bool = False):
        """(node, full name) of everything imported; `at_load`: only what importing the module itself runs."""
        for node in self._walk(self.tree, at_load):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node, alias.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.at(node)}: imports carry their full name"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield node, full if full in MODULES else node.module

    def _walk(self, tree, at_load):
        if not at_load:
            yield from ast.walk(tree)
            return
        for node in ast.iter_child_nodes(tree):
            deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            optional = isinstance(node, ast.Try) and "ImportError" in ast.unparse(node.handlers)
            if deferred or types or optional:
                continue
            yield node
            yield from self._walk(node, at_load)

    def calls(self):
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node


def read_modules() -> dict[str, Module]:
    modules = {}
    for path in sorted((ROOT / "swarm").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return modules


MODULES = read_modules()


def name_called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def method_called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def report(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(sorted(set(broken)))


def test_imports_look_down_never_up():
    broken = []
    for module in MODULES.values():
        for node, name in module.imports():
            target = MODULES.get(name)
            if target is None or target.name in ("swarm", "swarm.errors"):
                continue
            if module.room in LAYERS:
                allowed = target.room in LAYERS[: LAYERS.index(module.room) + 1]
                allowed |= module.name in PROGRAMS and target.room == "callbacks"
            elif module.room == "callbacks":
                allowed = target.room in ("core", "callbacks") or target.name in CALLBACKS_MAY_USE
            else:  # the public doors
                allowed = module.name != "swarm.errors"
            if not allowed:
                broken.append(f"{module.at(node)}: {module.room or module.name} may not import {name}")
    report(broken)


def test_the_channel_that_callbacks_use_needs_the_base_install_only():
    base = VALUES | {"numpy", "msgpack", "click", "rich"} | set(sys.stdlib_module_names)
    broken, seen, todo = [], set(), [name for name in MODULES if name.startswith("swarm.callbacks")]
    while todo:
        module = MODULES[todo.pop()]
        if module.name in seen:
            continue
        seen.add(module.name)
        for node, name in module.imports(at_load=True):
            if name in MODULES:
                todo.append(name)
            elif name.split(".")[0] not in base | {"swarm"} and not _guards_framework(module):
                broken.append(f"{module.at(node)}: {name} is not in the base install")
    report(broken)


def _guards_framework(module: Module) -> bool:
    """swarm.callbacks.keras stands on Keras, .torch and .torch_model on torch: their users have it."""
    return module.name.split(".")[-1].split("_")[0] in FRAMEWORKS


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_touch_no_clock_socket_disk_or_randomness(room):
    broken = []
    for module in MODULES.values():
        if module.room != room:
            continue
        for node, name in module.imports():
            if name.split(".")[0] not in PURE[room] | {"swarm"}:
                broken.append(f"{module.at(node)}: {room} may not import {name}")
        for call in module.calls():
            if name_called(call) in IMPURE_CALLS or method_called(call) in IMPURE_METHODS:
                broken.append(f"{module.at(call)}: {room} is pure, it may not call {ast.unparse(call.func)}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("np.random", "numpy.random")):
                broken.append(f"{module.at(node)}: {room} is pure, it may not draw random numbers")
    report(broken)


def test_no_pickle_and_no_code_from_outside():
    broken = []
    for module in MODULES.values():
        for node, name in module.imports():
            if name.split(".")[0] in NEVER_IMPORTED:
                broken.append(f"{module.at(node)}: nobody may import {name}")
        for call in module.calls():
            if name_called(call) in NEVER_CALLED or method_called(call) in NEVER_METHODS:
                broken.append(f"{module.at(call)}: nobody may call {ast.unparse(call.func)}")
            for keyword in call.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    broken.append(f"{module.at(call)}: allow_pickle stays False")
    report(broken)


def test_libp2p_stays_in_the_mesh_and_frameworks_in_callbacks():
    broken = []
    for module in MODULES.values():
        for node, name in module.imports():
            top = name.split(".")[0]
            if top in ("libp2p", "multiaddr") and module.name not in LIBP2P_STAYS_IN:
                broken.append(f"{module.at(node)}: {top} stays in {' '.join(sorted(LIBP2P_STAYS_IN))}")
            if top in FRAMEWORKS and module.room in LAYERS and not module.name.startswith("swarm.nodes.demo"):
                broken.append(f"{module.at(node)}: {top} is for callbacks, doors and the demo's training program")
    report(broken)


def test_no_import_cycles():
    edges = {
        module.name: {name for _, name in module.imports(at_load=True) if name in MODULES and name != module.name}
        for module in MODULES.values()
    }
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError("import cycle: " + " → ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        path.append(name)
        for target in sorted(edges[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)


def test_files_and_functions_read_in_one_sitting():
    broken = []
    for module in MODULES.values():
        lines = len(module.path.read_text(encoding="utf-8").splitlines())
        if lines > LINES_OF_A_FILE:
            broken.append(f"{module.at(module.tree)}: {lines} lines, at most {LINES_OF_A_FILE}: more nouns than one?")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LINES_OF_A_FUNCTION:
                    broken.append(f"{module.at(node)}: {node.name} has {lines} lines, at most {LINES_OF_A_FUNCTION}")
    report(broken)


def test_modules_say_what_they_are_for_and_have_names():
    broken = []
    for module in MODULES.values():
        if module.tree.body and not ast.get_docstring(module.tree):
            broken.append(f"{module.at(module.tree)}: no docstring")
        if set(module.name.split(".")) & POOR_NAMES:
            broken.append(f"{module.at(module.tree)}: a name that says nothing")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                broken.append(f"{module.at(node)}: star import")
    report(broken)


def test_tests_wait_for_events_instead_of_sleeping():
    broken = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                broken.append(f"{path.relative_to(ROOT)}:{node.lineno}: time.sleep")
    report(broken)


def test_git_tracks_no_key_and_no_certificate():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    broken = []
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.suffix in (".pem", ".key", ".crt", ".srl", ".p12", ".pfx", ".der"):
            broken.append(f"{name}: a key or certificate by its name")
        elif path.is_file() and any(line.startswith(b"-----BEGIN ") for line in path.read_bytes().splitlines()):
            broken.append(f"{name}: a PEM block inside")
    report(broken)
