#!/usr/bin/env python3
"""Builds a nano kernel by hand, for work on it: `kernels/nano/build.py OUTPUT [--driver NAME]... [--group NAME]...`.

The lists of files are those of kernel.yaml and the drivers' driver.yaml, so it builds what the official build does.
Two links: the first gives the addresses of the functions, of which the compact symbol table for crash reports is made.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from rumpel.build.kernel_nano import (  # noqa: E402
    COMPILE_FLAGS,
    LINK_FLAGS,
    SPEED_FLAGS,
    VDSO_FLAGS,
    WARNINGS,
    WHOLE_FLAGS,
    WHOLE_LINK_FLAGS,
    is_whole,
    symbol_table,
)
from rumpel.build.toolchain import OWN_DEBUGGING  # noqa: E402

NANO = ROOT / "kernels/nano"
HAL = ROOT / "hal"
INCLUDE = [f"-I{HAL / 'include'}", f"-I{HAL / 'platform/pvh'}", f"-I{NANO / 'include'}"]


def run(command: list[str]) -> None:
    """Run a command; its failure ends the build."""
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(1)


def stale(target: pathlib.Path, depends: pathlib.Path) -> bool:
    """Whether an object must be compiled again, by the dependencies that the compiler wrote."""
    if not target.exists() or not depends.exists():
        return True
    words = depends.read_text().replace("\\\n", " ").split()[1:]
    built = target.stat().st_mtime
    return any(not pathlib.Path(word).exists() or pathlib.Path(word).stat().st_mtime > built for word in words)


def fetched(name: str) -> pathlib.Path:
    """The unpacked tree of a pinned source."""
    command = [sys.executable, str(NANO / "source_tree.py"), name]
    return pathlib.Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def group_include(groups: list[str]) -> list[str]:
    """The folders of headers that optional parts add."""
    optional = yaml.safe_load((NANO / "kernel.yaml").read_text()).get("optional", {})
    own = [f"-I{NANO / name}" for group in groups for name in optional[group].get("include", [])]
    parts = [optional[group] for group in groups if "source" in optional[group]]
    return own + [f"-isystem{fetched(part['source']) / name}" for part in parts for name in part["source_include"]]


def sources(drivers: list[str], groups: list[str]) -> list[pathlib.Path]:
    """Every C and assembly file of this kernel."""
    kernel = yaml.safe_load((NANO / "kernel.yaml").read_text())
    files = [NANO / name for name in kernel["files"] if name.endswith((".c", ".S"))]
    for group in groups:
        part = kernel["optional"][group]
        files += [NANO / name for name in part.get("sources", [])]
        if "source" in part:
            files += [fetched(part["source"]) / name for name in part["source_files"]]
    for driver in drivers:
        description = yaml.safe_load((HAL / "drivers" / driver / "driver.yaml").read_text())
        files += [HAL / "drivers" / driver / name for name in description["kernels"]["nano"].get("sources", [])]
    for platform in ("common", "pvh"):
        files += sorted(path for path in (HAL / "platform" / platform).iterdir() if path.suffix in (".c", ".S"))
    return files


def main() -> None:
    """Compile what is stale, link twice, strip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--driver", action="append", default=[])
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--define", action="append", default=[])
    arguments = parser.parse_args()
    objects_directory: pathlib.Path = arguments.output.with_suffix(".objects")
    objects_directory.mkdir(parents=True, exist_ok=True)
    files = sources(arguments.driver, arguments.group)
    include = INCLUDE + group_include(arguments.group)
    flags = [*COMPILE_FLAGS, *OWN_DEBUGGING, *WARNINGS] + [f"-D{each}" for each in arguments.define]

    def compile_one(source: pathlib.Path) -> pathlib.Path:
        own = source.is_relative_to(ROOT)
        target = objects_directory / ("_".join(source.relative_to(ROOT).parts if own else source.parts[-3:]) + ".o")
        depends = target.with_suffix(".d")
        if stale(target, depends):
            warnings = [] if own else ["-w"]
            small = source.is_relative_to(NANO / "src") or source.is_relative_to(HAL / "platform")
            speed = [] if small else SPEED_FLAGS
            whole = WHOLE_FLAGS if is_whole(str(source.relative_to(ROOT)) if own else source.name) else ()
            run(
                [
                    "gcc",
                    *flags,
                    *speed,
                    *whole,
                    *warnings,
                    *include,
                    f"-I{objects_directory}",
                    "-MD",
                    "-MF",
                    str(depends),
                    "-c",
                    str(source),
                    "-o",
                    str(target),
                ]
            )
        return target

    library = objects_directory / "vdso.so"
    parts = [NANO / "vdso" / name for name in ("vdso.c", "vdso.h", "vdso.ld")]
    if not library.exists() or library.stat().st_mtime < max(part.stat().st_mtime for part in parts):
        run(["gcc", *VDSO_FLAGS, f"-Wl,-T,{parts[2]}", str(parts[0]), "-o", str(library)])
        run(["strip", "--strip-all", str(library)])
    flags.append(f'-DVDSO="{library}"')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        objects = [str(path) for path in pool.map(compile_one, files)]

    link = ["gcc", *flags, *WHOLE_LINK_FLAGS, f"-Wl,{','.join(LINK_FLAGS)}", "-T", str(HAL / "platform/pvh/kernel.ld")]
    first = objects_directory / "first.elf"
    run([*link, "-g0", *objects, "-o", str(first)])
    table = objects_directory / "symbols.bin"
    listing = subprocess.run(["nm", "-n", str(first)], check=True, capture_output=True, text=True).stdout
    table.write_bytes(symbol_table(listing))
    with_table = objects_directory / "symtab-full.o"
    run(["gcc", *flags, f'-DSYMBOLS="{table}"', "-c", str(HAL / "platform/pvh/symtab.S"), "-o", str(with_table)])
    objects = [str(with_table) if path.endswith("pvh_symtab.S.o") else path for path in objects]
    debug = arguments.output.with_suffix(".debug")
    run([*link, *objects, "-o", str(debug)])
    run(["strip", "--strip-all", str(debug), "-o", str(arguments.output)])
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
