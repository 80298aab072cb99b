"""The fixed benchmarks and training sets, by name. One file a data set; nothing is fetched before it is asked for."""

from __future__ import annotations

from harness.benchmarks import (
    aime,
    aiw,
    codeforces,
    general_reasoning,
    gpqa,
    gsm8k,
    hendrycks_math,
    hle,
    humaneval,
    ioi,
    mmlu_pro,
    openr1_math,
    openthoughts,
    synthetic1,
    temporal_clue,
)
from harness.benchmarks.pinned import Source, SourceError, load, pin, unknown
from harness.benchmarks.question import Annex, Benchmark, Grader, LeftOut, Question, collect, complete, stream

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        gsm8k.TEST,
        hendrycks_math.TEST,
        hendrycks_math.MATH_500,
        aime.AIME_2024,
        aime.AIME_2025,
        humaneval.BENCHMARK,
        temporal_clue.BENCHMARK,
        aiw.BENCHMARK,
        mmlu_pro.BENCHMARK,
        gpqa.BENCHMARK,
        hle.BENCHMARK,
        codeforces.BENCHMARK,
        ioi.BENCHMARK,
        gsm8k.TRAIN,
        hendrycks_math.TRAIN,
        openr1_math.TRAIN,
        openthoughts.TRAIN,
        synthetic1.TRAIN,
        general_reasoning.TRAIN,
    )
}

TRAINING_SETS = [name for name, benchmark in BENCHMARKS.items() if benchmark.role == "training"]

# Asked for, and not to be had by anyone outside; their rows say so.
NOT_PUBLIC: dict[str, str] = {
    "frontiermath": "not public: Epoch AI keeps the problems of FrontierMath (arXiv 2411.04872) to itself so that no "
    "model trains on them, and runs evaluations on request",
}

__all__ = [
    "BENCHMARKS",
    "NOT_PUBLIC",
    "TRAINING_SETS",
    "Annex",
    "Benchmark",
    "Grader",
    "LeftOut",
    "Question",
    "Source",
    "SourceError",
    "collect",
    "complete",
    "load",
    "pin",
    "stream",
    "unknown",
]
