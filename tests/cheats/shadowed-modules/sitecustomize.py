"""Loaded by a harness that runs pytest or Python in a submission's folder: it must not."""

raise SystemExit("a submission's sitecustomize.py was loaded by the harness")
