"""What is said below a question about its answer: the form that its grader reads."""

from __future__ import annotations

from harness.tasks.task import Sample

TASK = "task"  # the grader of a generated question is its task

# What a chat model is told below a question. The track's own chat template says it for the model of a track.
FORM = "Think first, inside <think> and </think>. Then give the answer and nothing else inside <answer> and </answer>."
_PROGRAM = "The answer is one ```python block with a whole program, imports included."
_FORMS = {
    TASK: "",
    "integer": "The answer is an integer in digits.",
    "maths": "The answer is LaTeX, simplified.",
    "choice": "The answer is one capital letter.",
    "clue": "The answer has a line for each question: its letter, a full stop, a space, and the name.",
}
# Of a program, by its form: what is compiled with the files of its problem has main in one of those.
_PROGRAMS = {
    "function": _PROGRAM,
    "stdin": _PROGRAM,
    "ioi": "The answer is one ```cpp block with a whole file, includes included: what the problem asks for, no main.",
}


def form(sample: Sample, grader: str) -> str:
    """A sentence, or nothing where the question says it itself."""
    return _PROGRAMS[sample.metadata["form"]] if grader == "code" else _FORMS[grader]


def asked(sample: Sample, grader: str) -> str:
    """The question with the form of its answer. Where the answer goes is said by a track's template, or by FORM."""
    return f"{sample.prompt}\n\n{form(sample, grader)}".rstrip()
