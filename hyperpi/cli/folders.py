"""`hyperpi folders [PATH]`: browse a machine for a folder to start an agent in."""

import click

from hyperpi.cli.local import local_node
from hyperpi.cli.options import Verb, connected, home, json_option
from hyperpi.cli.output import note, print_json, print_table
from hyperpi.cli.spawn import choose, folder_of
from hyperpi.cli.words import one_line, rows_of


@click.command(
    cls=Verb,
    example="""hyperpi folders
               hyperpi folders ~/code
               hyperpi folders '~/code' --node attic""",
)
@click.argument("path", required=False)
@click.option("--node", metavar="NODE", help="Of which machine. Default: this one.")
@click.option("--hidden", is_flag=True, help="Also those whose name begins with a dot.")
@json_option
def folders(path: str | None, node: str | None, hidden: bool, as_json: bool) -> None:
    """List the folders in PATH on a machine; without PATH those in its user's home.

    With --json {path, parent, folders: [{name, path, project, agents}], allowed}.
    """
    with connected() as client:
        where = choose(rows_of(client.call("mesh.get"), "nodes"), node, local_node(home()))
        asked = {"node": where.node, "hidden": hidden}
        if path is not None:
            asked["path"] = folder_of(path, where)
        listing = client.call("node.folders", asked)
    if as_json:
        print_json(listing)
        return
    if not listing.get("allowed"):
        note(f"{one_line(listing.get('path'))}: agents may not be started here, only below")
    rows = [
        [one_line(row.get("path")), str(row.get("project") or "-"), str(row.get("agents") or "-")]
        for row in rows_of(listing, "folders")
    ]
    if rows:
        print_table(("FOLDER", "PROJECT", "AGENTS"), rows)
    else:
        note(f"{one_line(listing.get('path'))} holds no folders")
