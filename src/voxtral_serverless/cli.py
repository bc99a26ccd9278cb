"""The command `voxtral-serverless`: its commands are in `commands`, a module for each.

The result alone goes to stdout; progress, warnings and errors (`code: message`) go to stderr. Exit status: 0
done, 2 bad input, 1 our fault. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from voxtral_serverless import __version__
from voxtral_serverless.commands.deploy import deploy
from voxtral_serverless.commands.doctor import doctor
from voxtral_serverless.commands.download import download
from voxtral_serverless.commands.qualify import qualify
from voxtral_serverless.commands.serve import serve
from voxtral_serverless.commands.transcribe import transcribe
from voxtral_serverless.commands.worker import start, worker

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)


def main() -> None:
    """Run the command line."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"voxtral-serverless {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Who said what when, a summary, and the sentiment of a call, on your own machine."""


for command in (transcribe, serve, worker, start, deploy, doctor, download, qualify):
    app.command()(command)
