"""Projects: what belongs to one ``langgraph.json`` is imported under names that nobody else in this process has.

A project's ``core.prompts`` is ``skein_project_<folder>.core.prompts`` to Python, so it stands beside Skein's own
``core`` and beside another project's. The project need not know: each of its modules has an ``__import__`` of its
own, in its ``__builtins__``, which looks among the project's folders first and asks Python for all else. That holds
wherever its code runs: at the top, in a function, on a thread.

Invariant: a project's module stands in for no one else's, and ``sys.path`` stays as it is.
"""

import builtins
import dataclasses
import functools
import hashlib
import importlib
import importlib.resources
import importlib.util
import os
import pkgutil
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "skein_project_"
_ROOT = Path(__file__).resolve().parents[2]
_HOUSE = (_ROOT / "core", _ROOT / "pages")
# Python's functions that take a module by its name, with how many of their arguments are one.
_TAKE_NAMES: Mapping[ModuleType, Mapping[str, int]] = {
    importlib: {"import_module": 2},
    importlib.util: {"find_spec": 2},
    importlib.resources: dict.fromkeys(
        ("contents", "files", "is_resource", "open_binary", "open_text", "path", "read_binary", "read_text"), 1
    ),
    pkgutil: {"get_data": 1, "resolve_name": 1},
}
_NAME_KEYS = ("name", "package", "anchor")


class Project:
    """The modules of one ``langgraph.json``.

    ``roots`` are folders whose modules it imports by name, in their order; ``packages`` are folders that are a
    package themselves, each by its name with the folder it is in. ``path`` is where Python looks: the roots, and
    behind all that anybody has, the folders that graphs' files are in.
    """

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file
        self.folder = file.parent
        self.roots: list[str] = []
        self.path: list[str] = []
        self.packages: dict[str, str] = {}
        self._alone: dict[str, Path] = {}
        self._owned: dict[str, bool] = {}
        self._own_types: set[tuple[str, str]] = set()
        self._stand_ins = {module.__name__: _StandIn(module, self.full_name) for module in _TAKE_NAMES}
        self._stand_ins["importlib"].__dict__.update(
            util=self._stand_ins["importlib.util"], resources=self._stand_ins["importlib.resources"]
        )

    # -- names ------------------------------------------------------------------------------------------

    def owns(self, name: str) -> bool:
        """Whether a module of this name is the project's own; what comes with Python never is."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return False
        if top not in self._owned:
            # A folder without __init__.py counts, as for Python itself, only where nobody else has the name.
            is_sure = self._find_sure(top) is not None
            self._owned[top] = is_sure or (self.find_top(top) is not None and not self._is_elsewhere(top))
        return self._owned[top]

    def full_name(self, name: str) -> str:
        """The name that Python knows a module under, for one that the project uses."""
        is_own = not name.startswith((".", _PREFIX)) and self.owns(re.split("[.:]", name, maxsplit=1)[0])
        return f"{self.name}.{name}" if is_own else name

    def name_of_file(self, path: Path) -> str:
        """The name to import this very file by, so that it is the same module for all who import it."""
        if _is_of_house(path):
            return _usual_name(path) or self._name_alone(path)
        return self._own_name(path) or _usual_name(path) or self._name_alone(path)

    def _own_name(self, path: Path) -> str | None:
        """By the folder that makes it part of a whole package; of several, by the nearest."""
        found = []
        for root in dict.fromkeys([*self.roots, *self.packages.values()]):
            if not path.is_relative_to(root):
                continue
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            if not parts or any("." in part for part in parts):
                continue
            folders = [Path(root, *parts[:depth]) for depth in range(1, len(parts))]
            loose = sum(not _is_package(folder) for folder in folders)
            found.append((_is_package(Path(root)), loose, -len(root), root, parts))
        for *_, root, parts in sorted(found):
            if self.owns(parts[0]) and self._is_at(parts, root, path):
                return ".".join([self.name, *parts])
        return None

    def _is_at(self, parts: list[str], root: str, path: Path) -> bool:
        spec = self.find_top(parts[0])
        if spec is None:
            return False
        if spec.submodule_search_locations is None:
            # A file of the same name as the folder that it is in: it is that file, and no package has a part of it.
            return len(parts) == 1 and spec.origin == str(path)
        return str(Path(root, parts[0])) in spec.submodule_search_locations

    def _name_alone(self, path: Path) -> str:
        """For a file that nothing can import by name; made of its place in the project, so that it stays."""
        place = os.path.relpath(path, self.folder)
        name = f"{re.sub(r'[^0-9A-Za-z]+', '_', path.stem)}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"
        self._alone[name] = path
        return f"{self.name}.{name}"

    def _is_elsewhere(self, top: str) -> bool:
        """Whether something else, that is not Skein itself, has this name: a module, or what is installed."""
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        if spec.origin is not None:
            found = Path(spec.origin if spec.submodule_search_locations is None else Path(spec.origin).parent)
            return str(found.resolve().parent) not in {str(_ROOT), *self.path}
        places = spec.submodule_search_locations or ()
        return any("site-packages" in place or "dist-packages" in place for place in places)

    # -- importing --------------------------------------------------------------------------------------

    def find_top(self, top: str) -> ModuleSpec | None:
        """Where the project's module of this name is, that is in no package; None when it has none."""
        name = f"{self.name}.{top}"
        if top in self._alone:
            return importlib.util.spec_from_file_location(name, self._alone[top])
        return self._find_sure(top) or PathFinder.find_spec(name, self.path)

    def _find_sure(self, top: str) -> ModuleSpec | None:
        """The same where it goes before whatever else has the name: a module or package in one of the roots."""
        importlib.import_module(self.name)  # a folder without __init__.py is found by way of what it is in
        name = f"{self.name}.{top}"
        for place in (self.roots, [self.packages[top]] if top in self.packages else []):
            spec = PathFinder.find_spec(name, place)
            if spec is not None and spec.loader is not None:
                return spec
        return None

    def make_builtins(self) -> dict[str, Any]:
        """Python's built-in names, with the project's own way to import."""
        return {**vars(builtins), "__import__": self._import}

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - Python's own names
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what ``builtins.__import__`` does, with the project's modules before all others."""
        if level:
            self._require_package(globals or {}, level)
        is_own = level == 0 and self.owns(name)
        wanted = f"{self.name}.{name}" if is_own else name
        try:
            found = builtins.__import__(wanted, globals, locals, fromlist or (), level)
        except ImportError as error:
            _tell_as_written(error)
            raise
        if is_own and not fromlist:
            return sys.modules[f"{self.name}.{name.partition('.')[0]}"]
        return self._stand_ins.get(found.__name__, found)

    def _require_package(self, importer: Mapping[str, Any], level: int) -> None:
        """Refuse what leads out of the project's packages, in Python's words: there is one more around them."""
        within = str(importer.get("__package__") or "")
        if not within.startswith(self.name):
            return
        if within == self.name:
            raise ImportError("attempted relative import with no known parent package")
        if level > within.count("."):
            raise ImportError("attempted relative import beyond top-level package")

    def forget_places(self) -> None:
        self._owned.clear()

    # -- types ------------------------------------------------------------------------------------------

    def is_own_type(self, module: str, name: str) -> bool:
        """Whether this is a type for data that a module of the project defines, which may come from a checkpoint.

        A module that is not there yet is imported for it, if its text defines the name.
        """
        if (module, name) in self._own_types:
            return True
        if not self._is_own_module(module):
            return False
        if module not in sys.modules and self._defines(module, name):
            importlib.import_module(module)
        found = getattr(sys.modules.get(module), name, None)
        if not isinstance(found, type) or found.__module__ != module or not _holds_data(found):
            return False
        self._own_types.add((module, name))
        return True

    def _is_own_module(self, module: str) -> bool:
        """Whether it is the project's, be it under its full name or, in Skein's own folder, under its usual one."""
        if module.startswith(f"{self.name}."):
            return True
        file = Path(getattr(sys.modules.get(module), "__file__", None) or "/")
        top = _ROOT / module.partition(".")[0]
        is_here = file.is_relative_to(top) or file == top.with_suffix(".py")
        return self.folder == _ROOT and is_here and top not in _HOUSE

    def _defines(self, module: str, name: str) -> bool:
        top, *inner = module.split(".")[1:]
        spec = self.find_top(top)
        if spec is None:
            return False
        if not inner:
            files = [Path(spec.origin or "")]
        else:
            folders = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
            files = [file for folder in folders for file in (folder.with_suffix(".py"), folder / "__init__.py")]
        pattern = re.compile(rf"^(?:class\s+{re.escape(name)}\b|{re.escape(name)}\s*[:=])", re.MULTILINE)
        return any(file.is_file() and pattern.search(file.read_text("utf-8", "replace")) for file in files)


class _StandIn(ModuleType):
    """One of Python's modules as a project sees it: a name that it is given is one of the project's."""

    def __init__(self, module: ModuleType, full_name: Callable[[str], str]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__["_module"] = module
        for name, count in _TAKE_NAMES[module].items():
            self.__dict__[name] = _by_full_name(getattr(module, name), count, full_name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_module"])


def _by_full_name(function: Callable[..., Any], count: int, full_name: Callable[[str], str]) -> Callable[..., Any]:
    def full(value: Any) -> Any:
        return full_name(value) if isinstance(value, str) else value

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        named = {key: full(value) if key in _NAME_KEYS else value for key, value in named.items()}
        try:
            return function(*map(full, args[:count]), *args[count:], **named)
        except ImportError as error:
            _tell_as_written(error)
            raise

    return call


class _Finder:
    """Tells Python where the modules of projects are; it stands before Python's own finders."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        project_name, _, inner = name.partition(".")
        project = _projects.get(project_name)
        if project is None:
            return None
        if not inner:
            package = ModuleSpec(name, None, is_package=True)
            package.submodule_search_locations = project.path
            return package
        spec = PathFinder.find_spec(name, path, target) if "." in inner else project.find_top(inner)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.loader.path)
        return spec

    @staticmethod
    def invalidate_caches() -> None:
        for project in list(_projects.values()):
            project.forget_places()


class _Loader(SourceFileLoader):
    """Loads a module of a project from its source, and gives it the project's way to import."""

    def exec_module(self, module: ModuleType) -> None:
        project = _projects[module.__name__.partition(".")[0]]
        module.__dict__["__builtins__"] = project.make_builtins()
        super().exec_module(module)


_projects: dict[str, Project] = {}
_lock = threading.Lock()


def open_project(
    file: Path, roots: Sequence[Path], packages: Sequence[Path] = (), beside: Sequence[Path] = ()
) -> Project:
    """The project of this ``langgraph.json``, the same each time, with these folders to look for modules in.

    It is named after its folder, so that what a checkpoint says of its types holds when all is moved elsewhere;
    where that name is taken, after its whole path too. Skein's own folder is left out: its modules keep theirs.
    """
    with _lock:
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        project = next((one for one in _projects.values() if one.file == file), None)
        if project is None:
            name = _PREFIX + (re.sub(r"[^0-9a-z]+", "_", file.parent.name.lower()).strip("_") or "root")
            if name in _projects:
                name = f"{name}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
            project = _projects[name] = Project(name, file)
        project.roots = [str(root) for root in roots if root != _ROOT]
        more = [str(folder) for folder in beside if folder != _ROOT and not _is_of_house(folder)]
        # In place: Python keeps this very list as the path of the package that stands for the project.
        project.path[:] = dict.fromkeys([*project.roots, *more])
        project.packages = {folder.name: str(folder.parent) for folder in packages if folder != _ROOT}
        project.forget_places()
        return project


def as_written(text: str) -> str:
    """The text with modules of projects as the projects themselves call them."""
    return re.sub(rf"\b{_PREFIX}\w+\.", "", text)


def _tell_as_written(error: ImportError) -> None:
    if error.name is not None:
        error.name = as_written(error.name)
    if isinstance(error.msg, str):
        error.msg = as_written(error.msg)
        error.args = (error.msg, *error.args[1:])


def _is_of_house(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _HOUSE)


def _usual_name(path: Path) -> str | None:
    """The name under which everybody's Python finds this very file."""
    for root in sys.path:
        base = Path(root or ".").resolve()
        if not path.is_relative_to(base) or not (path.parent == base or _is_package(path.parent)):
            continue
        name = ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        if _origin(name) == path:
            return name
    return None


def _origin(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin).resolve() if spec and spec.origin else None


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _holds_data(found: type) -> bool:
    """Whether LangGraph's serializer writes objects of this type by the type's name."""
    if dataclasses.is_dataclass(found) or issubclass(found, (Enum, set, frozenset, deque)):
        return True
    is_model = hasattr(found, "model_fields") or hasattr(found, "__fields__")
    return is_model or (issubclass(found, tuple) and hasattr(found, "_fields"))
