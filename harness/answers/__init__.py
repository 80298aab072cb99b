"""Kinds of answers, a file and a class each (kind.Kind): how one is asked for, graded and attacked.

grade      the answer format, and what grading gives
integer    GSM8K, AIW, AIME
choice     MMLU-Pro, GPQA: one letter
clue       Temporal Clue: several fields
latex      training sets of mathematics: a normal form of what is written
maths      MATH: math-verify in processes that can be killed (equivalence.py runs in them, pool.py kills them)
code       HumanEval, and programs that read and write: with a runner that isolates them (exam.py runs in it)
generated  questions of harness.tasks
"""
