"""What the fork server of tests/forked.py imports once, for all its processes."""

import gc

import rich.console
import rich.progress
import rich.table
import transformers.models.llama.modeling_llama
import typer._adapters
import typer.main

import harness.engines.transformers
import harness.verify.session

__all__ = ["harness", "rich", "transformers", "typer"]

# Collecting garbage looks at every object there is: a third of a second in each process, and a copy of their memory.
gc.collect()
gc.freeze()
