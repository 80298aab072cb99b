"""The names that `techniques` in submission.toml may list: what a recipe does otherwise than its track's baseline.

The one list of them, so that records can be counted and compared by what they do. A name is never removed, since
records carry it for good. A recipe that does something else says so in `change`; add a name once two recipes share it.
"""

from __future__ import annotations

from harness.errors import meant

TECHNIQUES = {
    # -- which completions count
    "dynamic-sampling": "groups whose rewards are all equal are replaced by others until the batch is full (DAPO)",
    "drop-zero-variance": "groups whose rewards are all equal leave the update and are not replaced",
    "larger-groups": "more completions a question than the baseline",
    "curriculum": "questions are chosen or ordered by how often they are answered right",
    "off-policy-reuse": "completions serve more updates than in the baseline, or those of older policies are kept",
    "on-policy": "one update a rollout, so the ratio is 1",
    "rejection-sampling": "supervised steps on the policy's own right completions (RAFT, STaR)",
    # -- advantages and rewards
    "no-std": "advantages are not divided by the group's standard deviation (Dr. GRPO)",
    "leave-one-out": "the baseline of an advantage is the mean of the group's other rewards (RLOO)",
    "batch-normalisation": "advantages are normalised over the whole batch (REINFORCE++)",
    "length-penalty": "long completions earn less",
    "reward-shaping": "the reward is more than right or wrong: format, partial credit",
    # -- the loss
    "token-mean": "the loss is the mean over all tokens of a batch, not over completions first (DAPO)",
    "clip-higher": "the upper clip range is wider than the lower, so that unlikely tokens can gain (DAPO)",
    "sequence-ratio": "one importance ratio a completion instead of one a token (GSPO)",
    "truncated-importance": "the ratio of trainer to sampler weighs each token, cut off above (TIS)",
    "no-kl": "no KL term, so no reference model",
    "entropy-bonus": "a term of the loss rewards entropy",
    # -- sampling
    "temperature": "a sampling temperature that is not 1, or that changes",
    "continuous-batching": "finished completions leave the sampler, and others may take their place",
    "fused-sampler": "a decoding loop of its own: static cache, fused kernels or CUDA graphs",
    "low-precision": "samples or trains in fewer bits than the baseline",
    # -- optimisation
    "muon": "matrices are updated by Muon",
    "schedule": "another schedule of learning rate or batch size",
    "fewer-steps": "fewer rollouts than the baseline, a number fixed in advance",
    "stopping-rule": "ends by a rule on the rewards that it sees",
    "ema": "the saved weights are a running mean of the trained ones",
    "low-rank": "only low-rank factors are trained, and merged at the end (LoRA)",
    "length-buckets": "minibatches of completions of like length: less padding",
    "torch-compile": "parts of the model run through torch.compile",
}


def unknown(name: str) -> str:
    """One line for a name that is not of TECHNIQUES, with those that may have been meant.

    Near in spelling, or else explained by that word, so that `gspo` leads to `sequence-ratio`.
    """
    word = name.strip().lower()
    explained = [other for other, line in TECHNIQUES.items() if len(word) > 2 and word in line.lower()]
    near = meant(name, TECHNIQUES) or (f"did you mean {' or '.join(explained[:3])}?" if explained else "")
    return f"there is no technique {name!r}; {near or 'harness/ledger/techniques.py lists them'}"
