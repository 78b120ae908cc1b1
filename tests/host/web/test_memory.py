"""The program's own memset(), which takes the place of the C library's in images."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

CHECK = r"""
#include <stdio.h>
void *own_memset(void *to, int value, size_t size);

enum { SPACE = 1024, LONGEST = 700, OFFSETS = 17 };

int main(void) {
    static unsigned char found[SPACE], expected[SPACE];
    static const int values[] = {0, 1, 0x80, 0xff, -1, 0x1234};
    for (size_t offset = 0; offset < OFFSETS; offset++)
        for (size_t size = 0; size <= LONGEST; size++)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                for (size_t i = 0; i < SPACE; i++) {
                    found[i] = expected[i] = (unsigned char)(i * 7 + 3);
                    if (i >= offset && i < offset + size)
                        expected[i] = (unsigned char)values[v];
                }
                if (own_memset(found + offset, values[v], size) != found + offset)
                    return 1;
                for (size_t i = 0; i < SPACE; i++)
                    if (found[i] != expected[i]) {
                        printf("offset %zu, size %zu, value %d: byte %zu\n", offset, size, values[v], i);
                        return 1;
                    }
            }
    puts("all alike");
    return 0;
}
"""


def test_memset_sets_exactly_the_bytes_asked_for_at_every_alignment_and_size(tmp_path: Path) -> None:
    source, program = tmp_path / "check.c", tmp_path / "check"
    source.write_text(f'#define memset own_memset\n#include "{ROOT}/components/web/memory.c"\n#undef memset\n{CHECK}')
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)], check=True)
    run = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert (run.stdout, run.returncode) == ("all alike\n", 0)
