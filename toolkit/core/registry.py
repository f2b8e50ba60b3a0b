"""One registry a kind of thing: rows of ours, and those that installed packages add by entry point.

A row is loaded when it is first asked for; names cost nothing. Of a row from elsewhere, its package's name, version and
the SHA-256 of its files belong in the signature of whatever the row computes.
"""

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from toolkit.core.artifacts import sha256_of_file
from toolkit.core.errors import InputError, MachineError, one_of
from toolkit.core.imports import uncollected

GROUP, PLUGIN = "speech_layer_toolkit", " plugin"

Row = TypeVar("Row")


@dataclass(frozen=True)
class Plugin:
    """The installed package that a row comes from.

    distribution, version: as its metadata say. package: what is imported of it for the row; sha256: of all its files.
    """

    package: str
    distribution: str
    version: str
    sha256: str


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, ours first.

    Raises MachineError as soon as names are asked for where two packages add one name, and where a row cannot be
    loaded or is of another type.
    """

    def __init__(self, kind: str, group: str, row: type[Row], ours: Mapping[str, str | Row]) -> None:
        """kind: "probe", in sentences. group: of entry points, behind GROUP. ours: rows, or "module:attribute"."""
        self.kind, self._group, self._row, self._ours = kind, f"{GROUP}.{group}", row, ours
        self._loaded: dict[str, Row] = {}

    @cached_property
    def _plugins(self) -> dict[str, metadata.EntryPoint]:
        found: dict[str, metadata.EntryPoint] = {}
        for point in metadata.entry_points(group=self._group):
            other = found.get(point.name)
            if point.name in self._ours or (other and other.value != point.value):
                owner = _named(other) if other else "The toolkit"
                raise MachineError(
                    f"{owner} and {_named(point)} both have the {self.kind} {point.name!r}; uninstall one of them"
                )
            found[point.name] = point
        return found

    def __iter__(self) -> Iterator[str]:
        return iter((*self._ours, *sorted(self._plugins)))

    def __len__(self) -> int:
        return len(self._ours) + len(self._plugins)

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._plugins

    def __getitem__(self, name: str) -> Row:
        """Raises KeyError; `find` is for names that a user gave."""
        if name not in self._loaded:
            row = self._ours[name] if name in self._ours else self._load(self._plugins[name])
            self._loaded[name] = resolve(row) if isinstance(row, str) else row
        return self._loaded[name]

    def find(self, name: str) -> Row:
        """Raises InputError with the known names, and the nearest of them."""
        if name not in self:
            raise InputError(one_of(self.kind, name, list(self)))
        return self[name]

    def plugin(self, name: str) -> Plugin | None:
        """The package that a row comes from; None for one of ours."""
        point = self._plugins.get(name)
        if point is None:
            return None
        distribution = point.dist
        assert distribution is not None  # entry points that were found have one
        package = point.module.partition(".")[0]
        return Plugin(package, distribution.name, distribution.version, _sha256_of_package(package))

    def stated(self, name: str) -> dict[str, dict[str, str]]:
        """What a signature and a provenance say of a row: nothing of ours, {"probe plugin": {...}} of any other."""
        plugin = self.plugin(name)
        return {} if plugin is None else {f"{self.kind}{PLUGIN}": asdict(plugin)}

    def _load(self, point: metadata.EntryPoint) -> Row:
        try:
            row = point.load()
        except Exception as error:
            raise MachineError(
                f"{_named(point)}: its {self.kind} {point.name!r} cannot be loaded: {type(error).__name__} {error}"
            ) from error
        if not isinstance(row, self._row):
            raise MachineError(
                f"{_named(point)}: {point.value} is a {type(row).__name__}, expected a {self._row.__name__}"
            )
        return row


def resolve(where: str) -> Any:
    """What "module:attribute" names; the module is loaded."""
    module, _, attribute = where.partition(":")
    with uncollected():
        return getattr(importlib.import_module(module), attribute)


def later(where: str, *first: str) -> Callable[..., Any]:
    """The function that "module:attribute" names; its module is loaded by the first call.

    first: what it is given before all else, named likewise.
    """

    def call(*given: Any, **named: Any) -> Any:
        return resolve(where)(*map(resolve, first), *given, **named)

    return call


def _named(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _sha256_of_package(name: str) -> str:
    """Of the names and bytes of all files of a package, or of the one of a module; no compiled ones; "" for none."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return ""
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    files = [(path.relative_to(root).as_posix(), path) for root in roots for path in root.rglob("*") if path.is_file()]
    files = files or [(f"{name}.py", Path(str(spec.origin)))]
    whole = hashlib.sha256()
    for place, path in sorted(files):
        if "__pycache__" not in place:
            whole.update(f"{place}\0{sha256_of_file(path)}\n".encode())
    return whole.hexdigest()


def check_plugins(stated: Mapping[str, Any], what: str) -> None:
    """Raises MachineError where a package that a provenance names is missing, or has changed. what: it is of."""
    for plugin in (value for key, value in stated.items() if key.endswith(PLUGIN)):
        now = _sha256_of_package(plugin["package"])
        if now != plugin["sha256"]:
            raise MachineError(
                f"{what} was made with the package {plugin['distribution']} {plugin['version']}, which "
                f"{'has other files now' if now else 'is not installed'}; install the same one again"
            )
