"""The `nano-r1` command: a file for each group of commands. A command parses, calls one function and shows."""

from harness.cli.app import main

__all__ = ["main"]
