"""The virtio console in place of the serial port: what the program writes, and what it reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.abi import nano

PROGRAM = """
#include <stdio.h>
int main(void) {
    char line[600];
    for (int i = 0; i < 200; i++)
        printf("line %d of the program\\n", i);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    printf("read: %s", line);
    return 7;
}
"""


@pytest.mark.boot
def test_the_program_writes_and_reads_by_the_virtio_console(tmp_path: Path) -> None:
    kernel = nano.build_kernel(tmp_path / "kernel", (*nano.DRIVERS, "virtio-console"))
    (tmp_path / "program.c").write_text(PROGRAM)
    program = nano.compile_static(tmp_path / "program.c", tmp_path / "program", "gcc")
    pipes = [tmp_path / name for name in ("second.in", "second.out")]
    for pipe in pipes:
        os.mkfifo(pipe)
    typed, shown = (os.open(pipe, os.O_RDWR) for pipe in pipes)
    os.write(typed, b"x" * 500 + b"\n")
    extra = (
        *("-chardev", f"pipe,id=second,path={tmp_path / 'second'}"),
        *("-device", "virtio-serial-device", "-device", "virtconsole,chardev=second"),
    )
    end = nano.run(kernel, nano.root(program), tmp_path, extra=extra)
    written = os.read(shown, 65536).decode().splitlines()
    os.close(typed)
    os.close(shown)
    assert written[:200] == [f"line {number} of the program" for number in range(200)]
    assert written[-1] == f"read: {'x' * 500}"
    assert end.console == "", "the serial port has the words of the kernel alone"
    assert end.status == 7
