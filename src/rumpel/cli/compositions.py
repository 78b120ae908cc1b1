"""Commands that read descriptions: list, explain, plan. They fetch, build and start nothing."""

from __future__ import annotations

import sys

import click

from rumpel.cli.images import Wanted, composition_options, open_project, plan_of
from rumpel.cli.output import echo_json, echo_table
from rumpel.cli.terminal import say
from rumpel.errors import ModelError
from rumpel.resolve.plan import Frozen


class Listed(Frozen, frozen=True):
    """One composition, as `list --json` prints it. `problem` is empty where its file is right."""

    name: str
    file: str
    summary: str = ""
    kernel: str = ""
    machine: str = ""
    components: tuple[str, ...] = ()
    problem: str = ""


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> int:
    """List the compositions of this project. Says which files of the project are wrong, of compositions and of parts,
    and ends with 2 where there are any."""
    project = open_project()
    listed = []
    for name in project.names("composition"):
        try:
            composition = project.composition(name)
        except ModelError as error:
            listed.append(Listed(name=name, file=f"compositions/{name}.yaml", problem=str(error)))
            continue
        listed.append(
            Listed(
                name=name,
                file=composition.files[0].path,
                summary=composition.summary,
                kernel=composition.kernel.text,
                machine=composition.machine.text,
                components=tuple(component.text for component in composition.components),
            )
        )
    right = [each for each in listed if not each.problem]
    if as_json:
        echo_json(listed)
    elif right:
        echo_table(
            ("NAME", "KERNEL", "MACHINE", "SUMMARY"),
            [(each.name, each.kernel, each.machine, each.summary) for each in right],
        )
    else:
        say(f"There are no compositions in '{project.roots[0]}/compositions'.")
    for each in listed:
        if each.problem and not as_json:
            say(each.problem)
    wrong = project.unreadable()
    for part in wrong:
        say(str(part.error))
    return 0 if len(right) == len(listed) and not wrong else ModelError.exit_status


@click.command()
@click.argument("composition")
@composition_options
def explain(composition: str, wanted: Wanted) -> None:
    """Show as a tree what COMPOSITION is made of, and why each part is there."""
    from rumpel.resolve.explain import explain as tree

    click.echo(tree(plan_of(composition, wanted)), nl=False)


@click.command()
@click.argument("composition")
@composition_options
def plan(composition: str, wanted: Wanted) -> None:
    """Print the plan of COMPOSITION as JSON: the same input gives the same bytes.

    Sources are named as the lock file pins them. The plan of an image that was built is in its folder, 'plan.json'.
    """
    sys.stdout.buffer.write(plan_of(composition, wanted).to_json())
