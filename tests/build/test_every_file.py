"""Every file of every image of the catalog: read from the image's bytes, held against the plan and what it pins.

A file is accounted for when the plan says what it is and its content is what it should be: a file of a pinned package,
one of the component's folder, a compiled program at the place that the plan names, or one that Rumpel makes itself.
"""

from __future__ import annotations

import _imp
import functools
import hashlib
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from rumpel.build.api import BuildOptions, build
from rumpel.resolve.plan import Component, Plan
from rumpel.resolve.settings import encode_settings, settings_of

from .contents import File, linked, pinned, roots_of

ROOT = Path(__file__).resolve().parents[2]
COMPOSITIONS = sorted(path.stem for path in (ROOT / "compositions").glob("*.yaml"))
TARGETS = [
    *((composition, "debian") for composition in COMPOSITIONS),
    *((composition, "linux") for composition in ("hello", "web", "sqlite-web")),
    *((composition, "nano") for composition in ("hello", "web")),
]
ON_DISK = {"nginx", "node-service", "python-http", "redis"}
FOLDERS = {"/dev", "/etc", "/proc", "/rumpel", "/run", "/sys", "/tmp"}
LINKS = {"/etc/hosts": b"../run/hosts", "/etc/resolv.conf": b"../run/resolv.conf"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Accounts:
    """What a plan explains. `root` is what the program sees, `initial` what the kernel starts with."""

    def __init__(self, plan: Plan, root: dict[str, File], initial: dict[str, File]) -> None:
        self.plan = plan
        self.root = root
        self.initial = initial
        self.runs = next(part for part in plan.components if part.role == "program")
        self.machine_code = next((part for part in plan.components if part.role == "runtime"), self.runs)
        self.sources = {source.name: source for source in plan.sources}

    def executable(self) -> set[str]:
        """What may be executed: the program or its runtime, the dynamic linker that it asks for, the kernel's init."""
        entry = self.machine_code.entry
        interpreter = linked(self.root[entry].data).interpreter if entry in self.root else ""
        return {entry, *({interpreter} if interpreter else ()), *(("/init",) if self.plan.kernel.init else ())}

    def unaccounted(self) -> Iterator[str]:
        """The paths that nothing in the plan explains."""
        explained = {path for path, file in self.root.items() if self._of_a_part(path, file)}
        if self.initial is not self.root:
            explained |= {path for path in LINKS if self.root[path].data == LINKS[path]}
            yield from (path for path, file in self.initial.items() if not self._of_rumpel(path, file, self.initial))
        else:
            explained |= {path for path, file in self.root.items() if self._of_rumpel(path, file, self.root)}
        folders = {str(parent) for path in explained for parent in PurePosixPath(path).parents}
        folders |= FOLDERS | {volume.mount for volume in self.plan.volumes}
        for path, file in self.root.items():
            if path not in (folders if stat.S_ISDIR(file.mode) else explained):
                yield path

    def _of_rumpel(self, path: str, file: File, root: dict[str, File]) -> bool:
        """Of what every image has: folders, the console, the settings, init, and the kernel's modules."""
        if path == "/dev/console":
            return stat.S_ISCHR(file.mode) and file.device == (5, 1)
        if stat.S_ISDIR(file.mode):
            return path in FOLDERS or path == "/rumpel/modules"
        if path == "/rumpel/settings":
            return file.data == encode_settings(settings_of(self.plan))
        if path == "/init":
            return bool(self.plan.kernel.init) and linked(file.data).needed == frozenset()
        module = re.fullmatch(r"/rumpel/modules/\d\d-(.+)\.ko", path)
        return (
            module is not None
            and module[1].replace("-", "_") in self._modules(root)
            and self._of_kernel(file, module[1])
        )

    def _modules(self, root: dict[str, File]) -> set[str]:
        """The modules that drivers and the kernel's parts name, and what these depend on by their own words."""
        wanted = [*self.plan.kernel.modules, *(name for driver in self.plan.drivers for name in driver.modules)]
        names = {name.replace("-", "_") for name in wanted}
        for path, file in root.items():
            if path.startswith("/rumpel/modules/") and stat.S_ISREG(file.mode):
                depends = re.search(rb"\0depends=([^\0]*)\0", file.data)
                names |= set(depends[1].decode().replace("-", "_").split(",")) if depends else set()
        return names

    def _of_kernel(self, file: File, name: str) -> bool:
        return any(path.endswith(f"/{name}.ko") for path in self._packaged(file, self.plan.kernel.sources))

    def _packaged(self, file: File, sources: tuple[str, ...]) -> Iterator[str]:
        """Where the content of `file` stands in packages."""
        digest = hashlib.sha256(file.data).hexdigest()
        for name in sources:
            if self.sources[name].kind != "deb-src":
                yield from pinned(self.sources[name]).get(digest, ())

    def _of_a_part(self, path: str, file: File) -> bool:
        if not stat.S_ISREG(file.mode):
            return False
        return any(
            self._compiled(path, file, part) or self._in_folder(path, file, part) or self._of_packages(path, file, part)
            for part in self.plan.components
        ) or self._bytecode(path, file)

    def _compiled(self, path: str, file: File, part: Component) -> bool:
        return part.kind == "c" and part.role == "program" and path == part.entry and not linked(file.data).needed

    def _in_folder(self, path: str, file: File, part: Component) -> bool:
        for entry in part.files:
            source = ROOT / part.directory / entry.source
            if path != entry.target and not path.startswith(f"{entry.target}/"):
                continue
            own = source / path[len(entry.target) + 1 :] if source.is_dir() else source
            if own.is_file() and own.read_bytes() == file.data:
                return True
        return False

    def _of_packages(self, path: str, file: File, part: Component) -> bool:
        packages = part.packages
        if packages is None:
            return False
        for module in packages.modules:
            folder = f"{packages.folder}/{module.path}/"
            if path.startswith(folder):
                return path[len(folder) :] in self._packaged(file, (module.source,))
        held = set(self._packaged(file, part.sources))
        if not held:
            return False
        if part.kind == "pypi" and path.startswith(f"{packages.folder}/"):
            return path[len(packages.folder) + 1 :] in held
        named = path in held and any(_pattern(each).fullmatch(path) for each in packages.files)
        left_out = any(_pattern(each).fullmatch(path) for each in packages.without)
        return (named and not left_out) or path == part.entry or self._is_linked(path, packages.libraries)

    def _is_linked(self, path: str, libraries: tuple[str, ...]) -> bool:
        """Whether another file of the root asks for this one as its linker or library, or the component does."""
        others = [linked(file.data) for at, file in self.root.items() if at != path and file.data[:4] == b"\x7fELF"]
        name = PurePosixPath(path).name
        return (
            name in libraries
            or any(name in other.needed for other in others)
            or path == linked(self.root[self.machine_code.entry].data).interpreter
        )

    def _bytecode(self, path: str, file: File) -> bool:
        """Whether it was compiled from a module that is here: it holds that one's hash (PEP 552)."""
        match = re.fullmatch(r"(.*)/__pycache__/([^/]+)\.cpython-\d+\.pyc", path)
        if match is None or self.machine_code.bytecode != "python":
            return False
        module = self.root.get(f"{match[1]}/{match[2]}.py")
        magic = int.from_bytes(file.data[:4], "little")
        return module is not None and file.data[4:16] == b"\1\0\0\0" + _imp.source_hash(magic, module.data)


@functools.cache
def _pattern(words: str) -> re.Pattern[str]:
    """`*` is any characters but "/", `**` any (docs/reference-model.md)."""
    return re.compile(re.escape(words).replace(r"\*\*", ".*").replace(r"\*", "[^/]*"))


@pytest.fixture(scope="module")
def python_http(tmp_path_factory: pytest.TempPathFactory) -> Accounts:
    return accounts_of("python-http", "debian", tmp_path_factory.mktemp("python-http"))


def accounts_of(composition: str, kernel: str, scratch: Path) -> Accounts:
    """What the plan of an image explains of what is in it."""
    manifest = build(composition, BuildOptions(kernel=kernel, machine="microvm"))
    plan = Plan.from_json((ROOT / manifest.directory / manifest.plan.path).read_bytes())
    assert manifest.rootfs.format == ("qcow2" if composition in ON_DISK else "cpio")
    return Accounts(plan, *roots_of(manifest, ROOT, scratch))


@pytest.mark.parametrize(("composition", "kernel"), TARGETS)
def test_every_file_is_explained_by_the_plan_and_nothing_but_its_one_program_can_be_executed(
    composition: str, kernel: str, tmp_path: Path
) -> None:
    accounts = accounts_of(composition, kernel, tmp_path)
    assert list(accounts.unaccounted()) == []
    both = {**accounts.initial, **accounts.root}
    assert {path for path, file in both.items() if file.is_executable} == accounts.executable()
    assert accounts.executable() <= both.keys()
    for path, file in both.items():
        assert file.owner == (0, 0), path
        assert file.mode & 0o7022 == 0 or stat.S_ISLNK(file.mode), path  # no set-user-ID, not writable by others
        if file.data[:4] == b"\x7fELF" and stat.S_ISREG(file.mode) and not file.is_executable:
            assert not linked(file.data).is_program, path


LIBRARIES = "/lib/x86_64-linux-gnu"
COMPILED = "/srv/python-http/__pycache__"
CHANGES = {
    "a second program": lambda root: {"/usr/bin/copy": root["/usr/bin/python3.11"]},
    "a library that nothing needs": lambda root: {f"{LIBRARIES}/libx.so.1": root[f"{LIBRARIES}/libz.so.1"]},
    "a file of a package that no pattern names": lambda root: {"/usr/lib/x/os.py": root["/usr/lib/python3.11/os.py"]},
    "another content of a file": lambda root: {
        "/usr/lib/python3.11/os.py": File(stat.S_IFREG | 0o644, data=root["/usr/lib/python3.11/os.py"].data + b"#")
    },
    "another content of a component's file": lambda root: {"/srv/python-http/main.py": File(stat.S_IFREG | 0o644)},
    "bytecode of another module": lambda root: {
        f"{COMPILED}/main.cpython-311.pyc": root[f"{COMPILED}/guestbook.cpython-311.pyc"]
    },
    "a folder": lambda root: {"/home": File(stat.S_IFDIR | 0o755)},
    "a link": lambda root: {"/bin": File(stat.S_IFLNK | 0o777, data=b"usr/bin")},
    "a device": lambda root: {"/dev/mem": File(stat.S_IFCHR | 0o600, device=(1, 1))},
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_does_not_belong_into_an_image_is_seen(
    change: Callable[[dict[str, File]], dict[str, File]], python_http: Accounts
) -> None:
    changed = change(python_http.root)
    accounts = Accounts(python_http.plan, {**python_http.root, **changed}, python_http.initial)
    assert list(changed) == [path for path in accounts.unaccounted() if path in changed]
