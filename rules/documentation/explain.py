"""QA1401 to QA1409 and QA1413: what a reader must be told, and is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qalint.analysis.explanations import MISSING, Explanations
from qalint.rule import Finding, Option, Rule, Severity


class Advice(Rule):
    """Base of the rules that ask one question of the prose; each names its question and its sentences.

    `missing` says what the reader is not told, `remedy` what to write; `{topic}` and `{text}` are the gap's,
    `{choices}` the first design choices of the program, `{cells}` how many cells it has.
    """

    severity = Severity.LOW
    default = False
    oracle = "none: no program can grade teaching"
    question: ClassVar[str]
    missing: ClassVar[str]
    remedy: ClassVar[str]
    options: ClassVar[dict[str, Option]] = {
        "topic-words": Option([], list, "further words that name the topic, in the language of the prose"),
        "reasoning-words": Option([], list, "further words that give a reason, in the language of the prose"),
    }

    def check(self, explanations: Explanations) -> Iterator[Finding]:
        """One finding for each gap in the answer."""
        answer = explanations.ask(self.question, self.values["topic-words"], self.values["reasoning-words"])
        if answer.state == MISSING:
            for gap in answer.gaps:
                words = {
                    "topic": gap.topic,
                    "text": _short(gap.text),
                    "choices": _choices(explanations),
                    "cells": str(explanations.decisions.cells),
                }
                yield self.finding(
                    gap.place, self.missing.format_map(words), help=self.remedy.format_map(words)
                )


class UnexplainedDecision(Advice):
    """A notebook does things and never says why.

    ## What it does
    Looks through the prose of a notebook with five or more code cells (`mo.md` text, Markdown cells,
    docstrings, comments, a README beside it) for one sentence that gives a reason, holds one way against
    another, or names a cost. If there is none, it says so once, at `app = marimo.App(...)`.

    ## Why is this bad?
    The code already tells *what* happens. What a reader cannot see is why it was done like this, and so
    what would happen otherwise: that is the part that teaches, and the part that is lost first.

    ## Example
    ```python
    mo.md("## Training. We train the model with LoRA.")
    ```

    ## Use instead
    ```python
    mo.md("## Why LoRA? All weights of this model do not fit beside their gradients in 8 GB, so we train two"
          " small matrices per layer instead.")
    ```

    ## Fix safety
    There is no fix: only the author knows the reason.

    ## Options
    `reasoning-words` adds words that give a reason in another language. Prose that is not English is
    judged by them alone; without them the rule is silent about it.

    ## References
    The checklist's section on explaining why, and not only what.
    """

    code = "QA1401"
    checklist = ("14.01",)
    question = "why"

    missing = "{cells} code cells, and no sentence says why anything is done as it is"
    remedy = "give the reason beside each decision: because ..., instead of ..., at the cost of ..."


class MissingPerformanceImplications(Advice):
    """Nothing says what the design costs in time and memory.

    ## What it does
    In a program that trains with an adapter, reduced precision, a GPU or another optimization, it looks
    for one paragraph that speaks of memory, time or speed and compares or measures it.

    ## Why is this bad?
    Memory and time decide whether a reader can run the thing at all. Numbers, even rough ones, let them
    judge before they have waited an hour.

    ## Example
    ```python
    mo.md("We use half precision.")
    ```

    ## Use instead
    ```python
    mo.md("Half precision halves the memory of the weights, so a batch twice as large fits;"
          " on a T4 an epoch takes 4 minutes instead of 11.")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on performance implications.
    """

    code = "QA1402"
    checklist = ("14.02",)
    question = "performance"

    missing = "nothing says what {choices} costs or saves in time and memory"
    remedy = "say how much memory and time it needs, and compared with what"


class MissingAlternatives(Advice):
    """The chosen way is compared with no other.

    ## What it does
    In a program that trains with an adapter, reduced precision, a GPU or another optimization, it looks
    for one paragraph that holds a choice against another ("instead of", "compared with", "unlike", a
    table with both).

    ## Why is this bad?
    A choice can only be understood against what was not chosen. Without it, readers copy the method to
    problems for which the other one was right.

    ## Example
    ```python
    mo.md("We fine-tune with LoRA.")
    ```

    ## Use instead
    ```python
    mo.md("LoRA instead of full fine-tuning: prompt tuning trains even less, but did not learn the format.")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on comparing alternatives.
    """

    code = "QA1403"
    checklist = ("14.03",)
    question = "alternatives"

    missing = "{choices} is compared with no alternative"
    remedy = "name what else was possible, and why it was not taken"


class MissingTradeOffs(Advice):
    """Nothing says what is given up.

    ## What it does
    In a program that trains with an adapter, reduced precision, a GPU or another optimization, it looks
    for one sentence that names a loss: a trade-off, a drawback, a price, "faster, but less accurate".

    ## Why is this bad?
    Every optimization costs something. A text that names only what is gained is an advertisement, and its
    reader meets the other side alone.

    ## Example
    ```python
    mo.md("A larger batch makes training faster.")
    ```

    ## Use instead
    ```python
    mo.md("A larger batch makes training faster, at the cost of memory and of steps per epoch.")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on trade-offs.
    """

    code = "QA1404"
    checklist = ("14.04",)
    question = "trade-offs"

    missing = "nothing says what is given up with {choices}"
    remedy = "say what it costs: quality, memory, time, simplicity"


class UnexplainedGpu(Advice):
    """A GPU is used, and nothing says why it helps.

    ## What it does
    Where the code uses a GPU, it looks for a sentence that names the GPU and says what it gains: parallel
    work, memory bandwidth, a measured speed-up, or what happens without one.

    ## Why is this bad?
    Readers without a GPU cannot tell whether they may go on; readers with one cannot tell what it does
    for them.

    ## Example
    ```python
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ```

    ## Use instead
    ```python
    # A GPU multiplies the many small matrices of a batch in parallel: 20x faster here than 8 CPU cores.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on explaining GPU acceleration.
    """

    code = "QA1405"
    checklist = ("14.05",)
    question = "gpu"

    missing = "the code uses a GPU here, and nothing says why that helps"
    remedy = "say what it gains (parallel work, bandwidth, a measured time), and what happens without one"


class UnexplainedHyperparameters(Advice):
    """A hyperparameter has a value that nothing justifies.

    ## What it does
    For each hyperparameter that reaches the optimizer, the loop or the adapter as a literal or a control,
    it looks for a sentence that names it and reasons about it, or for a comment beside the value that
    does.

    ## Why is this bad?
    Values are copied from notebook to notebook. Without the reason nobody knows which way to move them
    when the data or the model is another.

    ## Example
    ```python
    learning_rate = 2e-4
    ```

    ## Use instead
    ```python
    # Higher than for full fine-tuning, because the adapters start at zero; 1e-3 diverged on this data.
    learning_rate = 2e-4
    ```

    ## Fix safety
    There is no fix.

    ## Options
    `topic-words` and `reasoning-words` add the words of another language.

    ## References
    The checklist's section on explaining hyperparameters.
    """

    code = "QA1406"
    checklist = ("14.06",)
    question = "hyperparameters"

    missing = "no reason is given for the {topic}: `{text}`"
    remedy = "say why, and what a larger or smaller {topic} would do"


class UnexplainedArchitecture(Advice):
    """Adapters, layer types or precisions are chosen, and nothing says why.

    ## What it does
    Where the code meets LoRA, GPT-2's Conv1D, FP16 or BF16, it looks for a sentence that names it and reasons
    about it.

    ## Why is this bad?
    These are the choices a reader will have to make again for another model: whether its layers are
    Conv1D or Linear, whether its numbers fit FP16. The code shows the answer for one model only.

    ## Example
    ```python
    if type(module).__name__ == "Conv1D":
        in_features, out_features = module.weight.shape
    ```

    ## Use instead
    ```python
    # GPT-2 keeps its weights as (in, out), the transpose of nn.Linear, so the two sides must be swapped.
    if type(module).__name__ == "Conv1D":
        in_features, out_features = module.weight.shape
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on explaining architecture.
    """

    code = "QA1407"
    checklist = ("14.07",)
    question = "architecture"

    missing = "the code meets {topic} here, and nothing explains that choice"
    remedy = "say what {topic} is for here, and what would be different without it"


class UnexplainedOptimization(Advice):
    """Gradient scaling, clipping, accumulation, checkpointing or quantization is used without a reason.

    ## What it does
    For each of them that the code uses, it looks for a sentence that names it and reasons about it.

    ## Why is this bad?
    These lines are the ones that readers delete when they simplify, because nothing says what breaks
    without them.

    ## Example
    ```python
    scaler = torch.amp.GradScaler("cuda")
    ```

    ## Use instead
    ```python
    # FP16 gradients below 6e-8 become zero; scaling the loss keeps them representable.
    scaler = torch.amp.GradScaler("cuda")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on explaining optimizations.
    """

    code = "QA1408"
    checklist = ("14.08",)
    question = "optimization"

    missing = "{topic} is used here, and nothing says what it is for"
    remedy = "say what goes wrong without {topic}"


class MissingWhenToUse(Advice):
    """Nothing says when to use the approach, and when not.

    ## What it does
    In a program that trains with an adapter, reduced precision, a GPU or another optimization, it looks for a
    sentence about the amount of data, the hardware, or the cases for which it is meant.

    ## Why is this bad?
    A method that is right for 500 examples on a laptop is wrong for a million on a cluster. The author
    knows which this is; the reader finds out late.

    ## Example
    ```python
    mo.md("This notebook fine-tunes a model.")
    ```

    ## Use instead
    ```python
    mo.md("Use this when you have a few hundred examples and a GPU with 8 GB; with more, train all weights.")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on when to use an approach.
    """

    code = "QA1409"
    checklist = ("14.09",)
    question = "when"

    missing = "nothing says for how much data, for which hardware or in which case this is meant"
    remedy = "say when to use it and when not: size of the data, memory of the GPU, the goal"


class UninterpretedResult(Advice):
    """A chart or number is shown, and no sentence says what it means.

    ## What it does
    In a notebook that trains and shows charts, it looks in the shown text for a sentence that names the
    result (the loss, the curve, the output) and says what it shows or how to read it.

    ## Why is this bad?
    A loss curve means nothing to somebody who has not seen a hundred of them: whether this one is good,
    what a bad one looks like, what to do then.

    ## Example
    ```python
    plt.plot(losses)
    ```

    ## Use instead
    ```python
    mo.md("The loss should fall steeply during the first 50 steps and then flatten."
          " If it rises again, the learning rate is too high.")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on interpreting results.
    """

    code = "QA1413"
    checklist = ("14.13",)
    question = "results"

    missing = "this result is shown and never interpreted: `{text}`"
    remedy = "say what a good one looks like, and what to do if it does not"


def _choices(explanations: Explanations) -> str:
    """The first design choices of the program, in words."""
    topics = list(dict.fromkeys(decision.topic for decision in explanations.design()))
    return " and ".join(topics[:2])


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
