"""The folder holds a link to a file of the host."""

raise SystemExit("a submission with this manifest must not be run")
