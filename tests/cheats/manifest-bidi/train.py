"""The attack is in submission.toml: characters that turn round or hide their neighbours."""

raise SystemExit("a submission with this manifest must not be run")
