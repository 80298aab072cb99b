"""Graders that hold: one file a kind of answer, each total, each with a stated worst-case time.

grade      the answer format, and what every grader gives back
integer    GSM8K, AIW, AIME
choice     MMLU-Pro, GPQA: one letter
clue       Temporal Clue: several fields
maths      MATH: math-verify in processes that can be killed (equivalence.py runs in them, pool.py kills them)
code       HumanEval, and programs that read and write: in the sandbox (exam.py runs in it)
by_name    the grader of a question of a fixed benchmark
"""
