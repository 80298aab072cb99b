"""nano-r1's harness: everything that decides a result."""

__version__ = "0.1.0"
