"""The harness's side of a training run: the socket server, what is said over it, and runs during development.

`python -m harness.environment` serves a trainer that is started by hand: see __main__.py, and harness.client.
"""
