"""The words of the build's command line."""

from __future__ import annotations

import pytest

from rumpel.build.request import Known, Request, help_text, read_request
from rumpel.errors import UsageError

KNOWN = Known(compositions=("hello", "sqlite-web", "web"), kernels=("debian", "linux"), machines=("microvm", "q35"))


def test_every_option_is_read() -> None:
    words = [("composition", "web,hello,web"), ("kernel", "linux"), ("machine", "q35"), ("locked", "1")]
    words += [("set", "a=1"), ("set", "b=x=y"), ("verbose", "1"), ("offline", "1")]
    assert read_request(words, [], KNOWN) == Request(
        compositions=("web", "hello"),
        kernel="linux",
        machine="q35",
        variables=(("a", "1"), ("b", "x=y")),
        locked=True,
        offline=True,
        verbose=True,
    )


def test_all_is_every_composition() -> None:
    request = read_request([("composition", "all")], [], KNOWN)
    assert request is not None
    assert request.compositions == KNOWN.compositions


def test_no_word_at_all_asks_for_the_help() -> None:
    assert read_request([], [], KNOWN) is None


@pytest.mark.parametrize(
    ("arguments", "targets", "words"),
    [
        ([("compositon", "web")], [], "There is no option 'compositon'.\nDid you mean 'composition'?"),
        ([("composition", "wbe")], [], "There is no composition 'wbe'.\nDid you mean 'web'?"),
        (
            [("composition", "zzz")],
            [],
            "There is no composition 'zzz'.\nCompositions: hello, sqlite-web, web.",
        ),
        (
            [("composition", "web"), ("kernel", "debain")],
            [],
            "There is no kernel 'debain'.\nDid you mean 'debian'?",
        ),
        (
            [("composition", "web"), ("machine", "microvn")],
            [],
            "There is no machine 'microvn'.\nDid you mean 'microvm'?",
        ),
        (
            [("composition", "web"), ("set", "LIMIT")],
            [],
            "'set=LIMIT' does not name a value.\nWrite it as set=NAME=VALUE.",
        ),
        ([("composition", "web"), ("locked", "yes")], [], "'locked=yes' is neither locked=0 nor locked=1."),
        ([("kernel", "linux")], [], "No composition is named.\nWrite composition=NAME, or composition=all."),
        ([("composition", "")], [], "'composition=' names no composition.\nCompositions: hello, sqlite-web, web."),
        ([], ["web"], "'web' is not an option.\nWrite it as composition=web."),
        ([], ["install"], "'install' is not an option.\nWrite composition=NAME."),
    ],
)
def test_a_wrong_word_is_an_error_with_the_way_out(
    arguments: list[tuple[str, str]], targets: list[str], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_request(arguments, targets, KNOWN)
    assert str(caught.value) == words
    assert caught.value.exit_status == 2


def test_the_help_lists_compositions_options_and_allowed_values() -> None:
    text = help_text(KNOWN, [("hello", "Greets"), ("sqlite-web", "A database"), ("web", "A site")])
    assert "  sqlite-web   A database\n" in text
    assert "  kernel       a kernel in place of the composition's own\n" in text
    assert "Kernels:  debian, linux\nMachines: microvm, q35\n" in text
