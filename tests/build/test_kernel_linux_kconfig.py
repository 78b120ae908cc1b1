"""Kconfig files as they are read to explain a configuration: a small tree with each construct that matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.build.kernel_linux_kconfig import Kconfig, unmet

TREE = {
    "Kconfig": """\
mainmenu "A small kernel"
source "arch/$(SRCARCH)/Kconfig"
if NET
source "net/Kconfig"
endif # NET
config NET
	bool "Networking"
	select CRC
	help
		config IN_HELP
			bool "not a symbol"

		depends on NOTHING either
config CRC
	tristate
menu "Storage"
	depends on BLOCK
config DISK
	bool "Disk"
	depends on PCI && \\
		(FAST || !SLOW)
config SECRET
	bool "Secret" if EXPERT
endmenu
choice
	prompt "Timer"
	default HZ_250
config HZ_100
	bool "100"
config HZ_250
	bool "250"
endchoice
config PLAIN
	bool "Plain" # with a remark
source "missing/Kconfig"
""",
    "arch/x86/Kconfig": 'config PCI\n\tbool "PCI"\n\tdepends on $(success,true)\n',
    "net/Kconfig": 'menuconfig INET\n\tbool "TCP/IP"\n\tdepends on CRC\n',
}


@pytest.fixture
def kconfig(tmp_path: Path) -> Kconfig:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Kconfig(tmp_path)


def test_every_symbol_is_found_and_nothing_in_a_help_text_is(kconfig: Kconfig) -> None:
    assert sorted(kconfig.symbols) == sorted(
        ["PCI", "INET", "NET", "CRC", "DISK", "SECRET", "HZ_100", "HZ_250", "PLAIN"]
    )


def test_conditions_of_blocks_around_a_symbol_are_its_own(kconfig: Kconfig) -> None:
    assert kconfig.symbols["INET"].definitions[0].depends == ("NET", "CRC")
    assert kconfig.symbols["DISK"].definitions[0].depends == ("BLOCK", "PCI && (FAST || !SLOW)")
    assert kconfig.symbols["SECRET"].definitions[0].depends == ("BLOCK", "EXPERT")
    assert kconfig.symbols["PLAIN"].definitions[0].depends == ()


def test_a_symbol_without_a_prompt_knows_what_selects_it(kconfig: Kconfig) -> None:
    crc = kconfig.symbols["CRC"]
    assert not crc.prompted
    assert crc.selected_by == ["NET"]
    assert kconfig.symbols["NET"].prompted


def test_members_of_a_choice_know_each_other(kconfig: Kconfig) -> None:
    assert kconfig.others_of_choice(kconfig.symbols["HZ_100"]) == ["HZ_250"]
    assert kconfig.others_of_choice(kconfig.symbols["PLAIN"]) == []


@pytest.mark.parametrize(
    ("condition", "values", "words"),
    [
        ("A", {"A": "y"}, []),
        ("A", {"A": "m"}, []),
        ("A", {}, ["'A'"]),
        ("!A", {"A": "y"}, ["'A' off"]),
        ("!A", {}, []),
        ("A && B && C", {"B": "y"}, ["'A'", "'C'"]),
        ("A || B", {}, ["'A' or 'B'"]),
        ("A || B", {"B": "y"}, []),
        ("A && (B || !C)", {"A": "y", "C": "y"}, ["'B' or 'C' off"]),
        ("A=y", {"A": "m"}, ["'A = y'"]),
        ("A != n && B", {"A": "y", "B": "y"}, []),
        ("VERSION >= 120000", {"VERSION": "110000"}, ["'VERSION >= 120000'"]),
        ("VERSION >= 120000", {"VERSION": "130000"}, []),
        ('NAME = "fast"', {"NAME": '"fast"'}, []),
        ("$(cc-option,-mfoo) && A", {}, ["'A'"]),
        ("$(success,$(OBJTOOL) --version)", {}, []),
    ],
)
def test_what_is_unmet_is_named(condition: str, values: dict[str, str], words: list[str]) -> None:
    assert unmet(condition, values) == words
