"""What is taken from packages: the program, the libraries that it needs to the end of the chain, the files named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from rumpel.build.elf import read_elf
from rumpel.build.libraries import package_of
from rumpel.build.packages import Collected, CollectPackages, read_collected
from rumpel.build.step import Workspace
from rumpel.errors import BuildError
from rumpel.resolve.plan import NodeModule, Packages, Source, SourceFile, SourceKind

LIBS = "usr/lib/x86_64-linux-gnu"


class Shelf:
    """Unpacked packages in a folder, and what a component takes from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: dict[str, Source] = {}

    def package(self, name: str, kind: SourceKind = "deb", file: str = "file") -> Path:
        source = Source(
            name=name, kind=kind, package=name, version="1", files=(SourceFile(name=file, sha256="0" * 64, size=1),)
        )
        self.sources[name] = source
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name

    def write(self, package: str, path: str, data: bytes | str = b"x", mode: int = 0o644) -> Path:
        file = self.folder / package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        file.chmod(mode)
        return file

    def collect(self, entry: str = "", **packages: object) -> list[Collected]:
        step = CollectPackages(
            part="component/demo", directory="components/demo", entry=entry, packages=Packages(**packages),  # type: ignore[arg-type]
            sources=tuple(self.sources.values()),
        )  # fmt: skip
        target = self.folder / "packages.json"
        step.run(Workspace(root=self.folder, unpack=lambda source: self.folder / source.name), [], [target])
        return read_collected(target)

    def refusal(self, entry: str = "", **packages: object) -> str:
        with pytest.raises(BuildError) as caught:
            self.collect(entry, **packages)
        return str(caught.value)


def compiled(path: Path, *words: str, source: str = "int main(void) { return 0; }", gcc: str = "gcc") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [gcc, "-x", "c", "-nostdlib", "-o", str(path), "-", *words]
    subprocess.run(command, input=source.encode(), check=True, timeout=60, capture_output=True)
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """`app` with a program that needs libone, which needs libtwo; each library in a package of its own; a linker."""
    shelf = Shelf(tmp_path)
    two = compiled(
        shelf.package("two") / LIBS / "libtwo.so.2.1", "-shared", "-fPIC", "-Wl,-soname,libtwo.so.2",
        source="int two(void) { return 2; }",
    )  # fmt: skip
    (two.parent / "libtwo.so.2").symlink_to("libtwo.so.2.1")
    one = compiled(
        shelf.package("one") / LIBS / "libone.so.1", "-shared", "-fPIC", "-Wl,-soname,libone.so.1", f"-Wl,{two}",
        source="int two(void); int one(void) { return two(); }",
    )  # fmt: skip
    compiled(
        shelf.package("app") / "usr/bin/app", "-Wl,-e,main", "-Wl,--dynamic-linker=/lib64/ld-demo.so", f"-Wl,{one}",
        "-Wl,--allow-shlib-undefined", source="int one(void); int main(void) { return one(); }",
    )  # fmt: skip
    linker = compiled(shelf.package("linker") / "lib/ld-1.so", "-shared", "-fPIC", "-Wl,-soname,ld-demo.so")
    (shelf.folder / "linker/lib64").mkdir()
    (shelf.folder / "linker/lib64/ld-demo.so").symlink_to("../lib/ld-1.so")
    assert linker.exists()
    return shelf


def test_a_program_brings_its_linker_and_its_libraries_to_the_end_of_the_chain_and_nothing_else(shelf: Shelf) -> None:
    shelf.write("app", "usr/share/doc/app/copyright")
    shelf.write("app", "usr/bin/other", mode=0o755)
    found = {
        each.target: (each.mode & 0o777, each.file.source.name, each.file.path)
        for each in shelf.collect("/usr/bin/app")
    }
    assert found == {
        "/usr/bin/app": (0o755, "app", "usr/bin/app"),
        "/lib64/ld-demo.so": (0o755, "linker", "lib/ld-1.so"),
        "/lib/x86_64-linux-gnu/libone.so.1": (0o644, "one", f"{LIBS}/libone.so.1"),
        "/lib/x86_64-linux-gnu/libtwo.so.2": (0o644, "two", f"{LIBS}/libtwo.so.2.1"),
    }


def test_a_missing_library_names_the_chain_that_needs_it_and_the_package_that_brings_it(shelf: Shelf) -> None:
    del shelf.sources["two"]
    assert shelf.refusal("/usr/bin/app") == (
        "The component 'demo' needs the shared library 'libtwo.so.2', which none of its packages holds: "
        "app -> libone.so.1 -> libtwo.so.2.\n"
        "Add the package to 'sources' in components/demo/component.yaml; by Debian's naming rule it is "
        "'libtwo2: {deb: libtwo2}'. Then pin it: `rumpel lock --update libtwo2`."
    )


def test_a_missing_dynamic_linker_is_named(shelf: Shelf) -> None:
    del shelf.sources["linker"]
    assert shelf.refusal("/usr/bin/app").startswith(
        "The component 'demo' needs the dynamic linker '/lib64/ld-demo.so', which none of its packages holds: "
        "app -> ld-demo.so.\n"
    )


def test_a_library_that_is_loaded_while_the_program_runs_comes_with_what_it_needs(shelf: Shelf) -> None:
    targets = [each.target for each in shelf.collect(libraries=("libone.so.1",))]
    assert targets == ["/lib/x86_64-linux-gnu/libone.so.1", "/lib/x86_64-linux-gnu/libtwo.so.2"]


def test_a_program_may_be_a_link_into_another_package(shelf: Shelf) -> None:
    link = shelf.package("alias") / "usr/bin/server"
    link.parent.mkdir(parents=True)
    link.symlink_to("app")
    found = {each.target: each.file.path for each in shelf.collect("/usr/bin/server")}
    assert found["/usr/bin/server"] == "usr/bin/app"


def test_a_package_without_a_program_is_told(shelf: Shelf) -> None:
    shelf.sources = {}
    shelf.package("fonts")
    shelf.write("fonts", "usr/share/fonts/a.ttf")
    assert shelf.refusal("/usr/bin/fonts") == (
        "The component 'demo' names the program '/usr/bin/fonts', but its packages ('fonts') do not hold it, nor any "
        "other program.\n"
        "Name the package that holds the program under 'sources'."
    )


def test_a_wrong_program_is_told_with_those_that_there_are(shelf: Shelf) -> None:
    assert shelf.refusal("/usr/bin/ap") == (
        "The component 'demo' names the program '/usr/bin/ap', but its packages ('two', 'one', 'app', 'linker') do not "
        "hold it.\n"
        "Programs that they hold: '/usr/bin/app'."
    )


def test_a_program_for_another_architecture_is_told(shelf: Shelf) -> None:
    program = bytearray((shelf.folder / "app/usr/bin/app").read_bytes())
    program[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    shelf.write("app", "usr/bin/app", bytes(program), 0o755)
    assert shelf.refusal("/usr/bin/app") == (
        "The program '/usr/bin/app' of component 'demo' is for the architecture 'ARM 64 (AArch64)', not for x86-64.\n"
        "Take the package, or the file, for x86-64 (Debian: amd64, npm: linux-x64)."
    )


def test_a_shell_script_is_no_program(shelf: Shelf) -> None:
    shelf.write("app", "usr/bin/app", "#!/bin/sh\n", 0o755)
    assert shelf.refusal("/usr/bin/app").startswith(
        "The program '/usr/bin/app' of component 'demo', from the package 'app', is not an ELF program.\n"
    )


def test_patterns_choose_files_and_leave_out_others(shelf: Shelf) -> None:
    for name in ("a.py", "b.txt", "sub/c.py", "test/d.py"):
        shelf.write("app", f"usr/lib/app/{name}", mode=0o755)
    found = shelf.collect(files=("/usr/lib/app/**.py",), without=("/usr/lib/app/test/**",))
    assert [(each.target, each.mode & 0o777) for each in found] == [
        ("/usr/lib/app/a.py", 0o644),
        ("/usr/lib/app/sub/c.py", 0o644),
    ]


def test_a_pattern_that_matches_nothing_is_told(shelf: Shelf) -> None:
    shelf.sources = {"app": shelf.sources["app"]}
    assert shelf.refusal(files=("/etc/app/*.conf",)) == (
        "The component 'demo' names the file '/etc/app/*.conf', but its packages ('app') hold no such file.\n"
        "Correct 'deb.files' in components/demo/component.yaml."
    )


def test_npm_packages_stand_where_the_lock_file_says(shelf: Shelf) -> None:
    shelf.sources = {}
    for name in ("npm-a-1.0.0", "npm-b-2.0.0"):
        shelf.package(name, "npm")
        shelf.write(name, "package.json", json.dumps({"scripts": {"test": "x", "prepare": "y"}}))
        shelf.write(name, "lib/index.js", mode=0o755)
        shelf.write(name, "index.d.ts")
    modules = (
        NodeModule(source="npm-a-1.0.0", path="node_modules/a"),
        NodeModule(source="npm-b-2.0.0", path="node_modules/a/node_modules/b"),
    )
    found = shelf.collect(modules=modules, folder="/srv/app", without=("*.d.ts",))
    assert [(each.target, each.mode & 0o777) for each in found] == [
        ("/srv/app/node_modules/a/lib/index.js", 0o644),
        ("/srv/app/node_modules/a/node_modules/b/lib/index.js", 0o644),
        ("/srv/app/node_modules/a/node_modules/b/package.json", 0o644),
        ("/srv/app/node_modules/a/package.json", 0o644),
    ]


@pytest.mark.parametrize(
    ("manifest", "gyp", "wanted"),
    [
        ({"scripts": {"postinstall": "node steal.js"}}, False, "postinstall"),
        ({"scripts": {"preinstall": "a", "install": "b"}}, False, "preinstall, install"),
        ({}, True, "install (node-gyp)"),
    ],
)
def test_an_npm_package_that_wants_an_install_script_is_refused(
    shelf: Shelf, manifest: dict[str, object], gyp: bool, wanted: str
) -> None:
    shelf.sources = {}
    shelf.package("npm-a-1.0.0", "npm")
    shelf.write("npm-a-1.0.0", "package.json", json.dumps(manifest))
    if gyp:
        shelf.write("npm-a-1.0.0", "binding.gyp", "{}")
    modules = (NodeModule(source="npm-a-1.0.0", path="node_modules/a"),)
    assert shelf.refusal(modules=modules, folder="/srv/app") == (
        f"The npm package 'npm-a-1.0.0' 1 of component 'demo' wants to run a script when it is installed ({wanted}); "
        "Rumpel runs no scripts of packages.\n"
        "Take a package that works as it is published, or one that brings its machine code in a package for linux-x64."
    )


def test_a_wheel_is_unpacked_into_the_folder_without_its_scripts(shelf: Shelf) -> None:
    shelf.sources = {}
    shelf.package("demo", "pypi", "demo-1-py3-none-any.whl")
    for name in (
        "demo/__init__.py",
        "demo-1.dist-info/METADATA",
        "demo-1.data/scripts/run",
        "demo-1.data/purelib/x.py",
    ):
        shelf.write("demo", name)
    assert [each.target for each in shelf.collect(folder="/usr/lib/python3/dist-packages")] == [
        "/usr/lib/python3/dist-packages/demo-1.dist-info/METADATA",
        "/usr/lib/python3/dist-packages/demo/__init__.py",
        "/usr/lib/python3/dist-packages/x.py",
    ]


@pytest.mark.parametrize("file", ["demo-1.tar.gz", "demo-1-cp311-cp311-manylinux_2_17_x86_64.whl"])
def test_a_python_package_that_is_not_a_pure_wheel_is_refused(shelf: Shelf, file: str) -> None:
    shelf.sources = {}
    shelf.package("demo", "pypi", file)
    assert shelf.refusal(folder="/srv") == (
        f"The Python package 'demo' 1 of component 'demo' is not a pure wheel, but '{file}'; Rumpel runs nothing to "
        "build Python packages.\n"
        "Take a package that is published as a pure wheel ('...-none-any.whl')."
    )


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libc.so.6", "libc6"),
        ("ld-linux-x86-64.so.2", "libc6"),
        ("libstdc++.so.6", "libstdc++6"),
        ("libgcc_s.so.1", "libgcc-s1"),
        ("libpcre2-8.so.0", "libpcre2-8-0"),
        ("libz.so.1", "zlib1g"),
        ("libcrypto.so.3", "libssl3"),
        ("libbz2.so.1.0", "libbz2-1.0"),
        ("libdb-5.3.so", "libdb5.3"),
    ],
)
def test_the_package_of_a_library_follows_debian_s_rule(library: str, package: str) -> None:
    assert package_of(library) == package


def test_a_program_is_told_from_a_shared_library(tmp_path: Path) -> None:
    program = compiled(tmp_path / "program", "-static", "-Wl,-e,main")
    pie = compiled(tmp_path / "pie", "-static-pie", "-fPIE", "-Wl,-e,main")
    library = compiled(tmp_path / "library.so", "-shared", "-fPIC")
    assert [read_elf(path.read_bytes(), path.name).is_program for path in (program, pie, library)] == [
        True,
        True,
        False,
    ]


def test_a_damaged_elf_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    program = compiled(tmp_path / "program", "-static", "-Wl,-e,main").read_bytes()
    with pytest.raises(BuildError, match="The file 'x' is a damaged ELF file"):
        read_elf(program[:70], "The file 'x'")
