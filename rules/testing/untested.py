"""QA0901 to QA0907: what the repository's tests leave out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qalint.analysis.coverage import Coverage
from qalint.rule import Finding, Rule, Severity


class Untested(Rule):
    """Base of the rules that miss one test; each names the item and the sentence."""

    severity = Severity.LOW
    default = False
    oracle = "none: whether a test exists cannot be seen by running the code"
    item: ClassVar[str]
    missing: ClassVar[str]
    remedy: ClassVar[str]

    def check(self, coverage: Coverage) -> Iterator[Finding]:
        """One finding at the trainer's definition, if the code gives reason to test and no test does."""
        if self.item in coverage.asked and coverage.covering(self.item) is None:
            none = "" if coverage.tests else " (the repository has no tests)"
            yield self.finding(
                coverage.trainer, f"no test {self.missing} `{coverage.name}`{none}", help=self.remedy
            )


class UntestedFp16(Untested):
    """No test trains in FP16 and looks for NaN.

    ## What it does
    For code that trains in FP16, it looks for a test that names the precision, trains a step, and looks
    whether the loss or the parameters are finite.

    ## Why is this bad?
    NaN is how nearly every fault of mixed precision ends, and on a CPU none of it shows by itself: the
    usual CUDA spellings switch themselves off there, and the tests stay green.

    ## Example
    ```python
    def test_training():
        train(model, loader)
    ```

    ## Use instead
    ```python
    def test_fp16_loss_stays_finite():
        losses = train(model, loader, use_fp16=True)
        assert all(math.isfinite(loss) for loss in losses)
    ```

    ## Fix safety
    There is no fix. `qalint verify` performs this test on its reference trainer.

    ## References
    The checklist's section on tests.
    """

    code = "QA0901"
    checklist = ("09.01",)
    item = "fp16"
    missing = "looks for NaN after FP16 training in"
    remedy = "train two steps in FP16 (`GradScaler('cpu')` on a CPU), and assert that the loss is finite"


class UntestedFp32(Untested):
    """No test trains in FP32.

    ## What it does
    For code that trains in FP16, it looks for a test that trains with reduced precision switched off.

    ## Why is this bad?
    Where FP16 fails, the first question is whether FP32 works. The branch without a scaler is also the
    one that runs on machines without a GPU, and nobody sees it break.

    ## Example
    ```python
    def test_training():
        train(model, loader, use_fp16=True)
    ```

    ## Use instead
    ```python
    @pytest.mark.parametrize("use_fp16", [True, False])
    def test_training(use_fp16):
        losses = train(model, loader, use_fp16=use_fp16)
        assert losses[-1] < losses[0]
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0902"
    checklist = ("09.02",)
    item = "fp32"
    missing = "runs the FP32 path of"
    remedy = "run the same test with reduced precision switched off"


class UntestedTrainableShare(Untested):
    """No test looks at the share of trainable parameters.

    ## What it does
    For code that trains adapters, it looks for a test that counts what requires grad.

    ## Why is this bad?
    A base model that was not frozen, or layers that were not found, change this number and nothing else:
    the loss falls all the same.

    ## Example
    ```python
    def test_inject():
        inject_lora(model)
    ```

    ## Use instead
    ```python
    def test_only_adapters_are_trainable():
        inject_lora(model)
        share = sum(p.numel() for p in model.parameters() if p.requires_grad) / total
        assert 0 < share < 0.05
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0903"
    checklist = ("09.03",)
    item = "trainable share"
    missing = "counts the trainable parameters of"
    remedy = "assert that the share of parameters that require grad is small, and not zero"


class UntestedGradientFlow(Untested):
    """No test sees gradients reach the parameters.

    ## What it does
    For code that trains, it looks for a test that reads `.grad` after a backward, or sees parameters move.

    ## Why is this bad?
    `requires_grad` says what should be trained, not what is: an adapter that no forward pass uses has it
    set and never gets a gradient.

    ## Example
    ```python
    def test_lora():
        assert layer.lora_A.requires_grad
    ```

    ## Use instead
    ```python
    def test_gradients_reach_the_adapters():
        model(**batch).loss.backward()
        assert layer.lora_B.grad.abs().sum() > 0  # A's gradient is zero at the first step, because B is
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0904"
    checklist = ("09.04",)
    item = "gradient flow"
    missing = "sees gradients in"
    remedy = "after one backward, assert that the gradients of the trained parameters are there and not zero"


class UntestedGeneration(Untested):
    """No test generates text after training.

    ## What it does
    For code whose model generates text, it looks for a test that calls it.

    ## Why is this bad?
    Generation runs outside the training loop: other dtypes, no autocast, another device. It is where a
    notebook fails in front of its reader, after the long part.

    ## Example
    ```python
    def test_training():
        train(model, loader)
    ```

    ## Use instead
    ```python
    def test_generation_after_training():
        train(model, loader)
        assert model.generate(prompt, max_new_tokens=4).shape[1] == prompt.shape[1] + 4
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0905"
    checklist = ("09.05",)
    item = "generation"
    missing = "generates text after"
    remedy = "generate a few tokens with the trained model in a test"


class UntestedArchitectures(Untested):
    """No test runs the layer detection on both architectures.

    ## What it does
    For code that tells `Conv1D` from `Linear`, it looks for tests that meet both: a tiny GPT-2 and a tiny
    LLaMA.

    ## Why is this bad?
    The two read their weights in opposite order. Code that was tried on one only is wrong on the other,
    and on square layers it is wrong in silence.

    ## Example
    ```python
    def test_inject():
        inject_lora(tiny_gpt2())
    ```

    ## Use instead
    ```python
    @pytest.mark.parametrize("model", [tiny_gpt2(), tiny_llama()])
    def test_inject(model):
        inject_lora(model)
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0906"
    checklist = ("09.06",)
    item = "architectures"
    missing = "runs both GPT-2 and LLaMA through"
    remedy = "parametrize the test over a tiny model of each family"


class UntestedPreview(Untested):
    """No test sees all rows in the preview table.

    ## What it does
    For a notebook that trains and shows a table of its data, it looks for a test that counts the rows.

    ## Why is this bad?
    A preview that was cut for speed stays cut, and readers judge the data by its first five rows.

    ## Example
    ```python
    def test_notebook():
        app.run()
    ```

    ## Use instead
    ```python
    def test_preview_has_all_rows():
        _, defs = app.run()
        assert len(defs["preview"].data) == len(defs["dataset"])
    ```

    ## Fix safety
    There is no fix.

    ## References
    The checklist's section on tests.
    """

    code = "QA0907"
    checklist = ("09.07",)
    item = "preview"
    missing = "counts the rows of the preview in the notebook of"
    remedy = "run the notebook in a test, and compare the table's rows with the data set's"
