"""All that decides a result, and nothing else: what a digest of a track covers whichever its tasks are.

    format       a question, a completion and its score: the one answer format, and what an integer is
    draw         what a task is, and how its questions follow from a key
    keys         how every key of a verification follows from one root
    grader       token ids to a score: the end of a completion, and the vocabulary
    control      the scores of a control run, which say nothing
    weights      the strict reader of what a training left
    evaluation   weights and fresh questions to counts
    stats        the tests and intervals over runs
    judge        a track's rules and a session's numbers to a verdict
    errors       the one base class of the room's errors

The room imports nothing of ours outside itself: tasks, engine and a track's rules come as arguments
(harness.tracks.rules, harness.evaluation.gated and harness.evaluation.judging hand them over). Its code is hashed
without comments, docstrings and the texts of errors: see harness/tracks/digest.py.
"""
