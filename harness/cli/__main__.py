"""`python -m harness.cli` is `nano-r1`."""

from harness.cli import main

if __name__ == "__main__":
    main()
