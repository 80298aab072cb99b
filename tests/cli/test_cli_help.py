"""Every command's help at 80 columns: no word is broken, nothing is cut short."""

import re

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.app import app


def commands(command, path=()):
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def collapsed(text):
    """With single spaces: a word that was broken between two lines has a space in it then."""
    return " ".join(text.split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_word_is_broken_at_80_columns(path):
    command = COMMANDS[path]
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="nano-r1", terminal_width=80)
    assert done.exit_code == 0
    lines, text = done.stdout.splitlines(), collapsed(done.stdout)
    assert all(len(line) <= 80 for line in lines)
    assert not [line for line in lines if re.search(r"\w-$", line)]
    assert collapsed(command.help) in text
    for parameter in command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            assert re.search(rf"(?<![\w-]){re.escape(parameter.metavar if name[0] != '-' else name)}(?![\w-])", text)
        assert collapsed(parameter.help or "") in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does_in_a_sentence_that_a_list_has_room_for(path):
    command = COMMANDS[path]
    assert command.help.endswith(".") and all(parameter.help for parameter in command.params)
    done = CliRunner().invoke(app, [*path[:-1], "--help"], prog_name="nano-r1", terminal_width=80)
    assert "..." not in done.stdout.partition("Commands:")[2]
