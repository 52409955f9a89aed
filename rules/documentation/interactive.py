"""QA1410 to QA1412: what a reader must see and be able to touch."""

from __future__ import annotations

from collections.abc import Iterator

from qalint.analysis.explanations import MISSING, Explanations
from qalint.rule import Finding, Rule, Severity


class MissingDatasetPreview(Rule):
    """A data set is built for training and never shown.

    ## What it does
    Where a program builds a data set and trains on it, it looks for a table, a data frame, an image or a
    printed example of the data.

    ## Why is this bad?
    Most surprises of fine-tuning are in the data: an empty column, a template in the wrong place, a
    language nobody expected. A reader who has seen five rows knows what the model will learn.

    ## Example
    ```python
    dataset = load_dataset("json", data_files="train.json")["train"]
    train(model, dataset)
    ```

    ## Use instead
    ```python
    dataset = load_dataset("json", data_files="train.json")["train"]
    mo.ui.table(dataset.to_pandas(), selection=None)
    ```

    ## Fix safety
    There is no fix: which columns teach something is the author's choice.

    ## References
    The checklist's section on data set previews.
    """

    code = "QA1410"
    severity = Severity.LOW
    checklist = ("14.10",)
    default = False
    oracle = "none: what a preview teaches is for a reader to say"

    def check(self, explanations: Explanations) -> Iterator[Finding]:
        """At the place where the data set is built."""
        answer = explanations.ask("dataset")
        if answer.state == MISSING:
            for gap in answer.gaps:
                yield self.finding(
                    gap.place,
                    "the data that the model is trained on is never shown",
                    help="show some rows before training, for example with `mo.ui.table`",
                )


class FixedConfiguration(Rule):
    """Hyperparameters cannot be changed on the page, or a control does not say what it is.

    ## What it does
    In a marimo notebook that trains, it asks for at least one control (`mo.ui.slider`, `mo.ui.number`,
    ...) where all hyperparameters are literals, and for a label, a sentence or a form around each
    control.

    ## Why is this bad?
    To change a number and see what happens is how one learns what it does; that is what the notebook is
    for. A slider without a name cannot be used by anybody but its author.

    ## Example
    ```python
    learning_rate = 2e-4
    ```

    ## Use instead
    ```python
    learning_rate = mo.ui.number(1e-5, 1e-2, value=2e-4, label="learning rate: higher is faster, and riskier")
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on editable configuration.
    """

    code = "QA1411"
    severity = Severity.LOW
    checklist = ("14.11",)
    default = False
    oracle = "none: whether a reader can use the controls is for a reader to say"

    def check(self, explanations: Explanations) -> Iterator[Finding]:
        """At the first fixed hyperparameter, and at each control without a label."""
        answer = explanations.ask("configuration")
        if answer.state != MISSING:
            return
        for gap in answer.gaps:
            if gap.topic == "label":
                yield self.finding(
                    gap.place,
                    f"the control `{gap.text}` has no label",
                    help='give it `label="..."`, or show it inside a sentence',
                )
            else:
                yield self.finding(
                    gap.place,
                    f"a reader cannot change the hyperparameters ({gap.text}): all are literals",
                    help="offer the ones that matter as `mo.ui.slider` or `mo.ui.number`, with a label",
                )


class MissingStepProgress(Rule):
    """A training loop shows nothing while it runs.

    ## What it does
    For a training loop that is not short and constant, it looks for a progress bar, a spinner, a print, a
    log or an output that changes, in the loop, around it, or in a function of the file that it calls.

    ## Why is this bad?
    After half a minute of silence people interrupt the run, or wait an hour for one that hangs.

    ## Example
    ```python
    for batch in loader:
        loss = train_step(model, batch)
        loss.backward()
    ```

    ## Use instead
    ```python
    for batch in mo.status.progress_bar(loader, title="training"):
        loss = train_step(model, batch)
        loss.backward()
    ```

    ## Fix safety
    There is no fix here; `QA1312` offers one in a marimo notebook.

    ## References
    The checklist's section on visual progress.
    """

    code = "QA1412"
    severity = Severity.LOW
    checklist = ("14.12",)
    default = False
    oracle = "none: how long a step takes depends on the machine"

    def check(self, explanations: Explanations) -> Iterator[Finding]:
        """At the head of the loop."""
        answer = explanations.ask("progress")
        if answer.state == MISSING:
            for gap in answer.gaps:
                yield self.finding(
                    gap.place,
                    "this loop trains and shows nothing until it is done",
                    help="wrap the iterable in `mo.status.progress_bar` or `tqdm`, or print the loss",
                )
