"""Replay public fixes: the parent of each commit must give the finding, the commit itself must not.

    python benchmarks/replay.py MIRRORS [REPOSITORY...]

MIRRORS is a folder of clones with history, bare or not, each named `owner+name` (or with `/repo` below that).
Both versions are checked out with the whole repository around the file, into a temporary folder.
docs/real-code.md says what each commit fixed. Exits with 1 where one does not replay.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from qalint.testing import lint


class Fix(NamedTuple):
    """A public commit that fixed what a rule finds, and one file of it."""

    repository: str
    commit: str
    code: str
    file: str


FIXES = [
    Fix(*line.split(None, 3))
    for line in """\
brevdev/marimo ff85cfb QA1101 draft/llm_finetuning_dashboard.py
facebookresearch/fairscale a0458b98fc QA1101 tests/nn/data_parallel/test_fsdp_regnet.py
neosr-project/neosr f342317c21 QA1104 neosr/models/default.py
TorchSSL/TorchSSL eaed665 QA1105 models/fixmatch/fixmatch.py
TorchSSL/TorchSSL eaed665 QA1105 models/vat/vat.py
milesial/Pytorch-UNet 52b4f14 QA1105 train.py
NCAR/miles-credit cec6e076 QA1105 credit/trainers/trainerERA5_v2.py
NCAR/miles-credit cec6e076 QA1105 credit/trainers/trainerERA5_multistep_grad_accum.py
meta-llama/llama-recipes b1d9efd155 QA1105 src/llama_recipes/utils/train_utils.py
victorchall/EveryDream2trainer 1939cd5 QA1105 optimizer/optimizers.py
speechbrain/speechbrain 656e8b8c7 QA1105 speechbrain/core.py
ostris/ai-toolkit c2424087d6 QA1107 extensions_built_in/sd_trainer/SDTrainer.py
Lornatang/ESRGAN-PyTorch a316621356 QA1107 train_esrgan.py
Azure/MS-AMP 61b601a QA1108 examples/mnist.py
Azure/MS-AMP 61b601a QA1108 examples/mnist_ddp.py
s3prl/s3prl c7f7e465f7 QA1108 s3prl/pretrain/runner.py
k2-fsa/icefall 08caa1e4e5 QA1108 egs/ljspeech/TTS/matcha/train.py
neosr-project/neosr 6f77b1731e QA1111 neosr/models/default.py
Nerogar/OneTrainer ab0c1658 QA1115 modules/trainer/FineTuneTrainer.py
IDEA-Research/DINO c96d4e6 QA1115 engine.py
wenet-e2e/wekws 141d407 QA1115 kws/utils/executor.py
snakers4/silero-vad 64fb49e QA1115 tuning/utils.py
yastrebksv/TennisCourtDetector e5cd4f1 QA1115 base_trainer.py
meta-pytorch/torchforge f55a2076 QA1115 apps/sft/main.py
hpcaitech/ColossalAI 36f9a74ab2 QA1115 tests/test_zero_data_parallel/test_sharded_optim_v2.py
Hsintien-Ng/idinvert_pytorch-reproduced cf33025105 QA1115 training/training_loop_encoder.py
Lornatang/SRGAN-PyTorch b7743b74bd QA1115 trainer.py
ostris/ai-toolkit c698837241 QA1116 jobs/process/models/vgg19_critic.py
speechbrain/speechbrain 14169c5e0 QA1116 speechbrain/core.py
speechbrain/speechbrain 2f33f0ca3 QA1124 speechbrain/core.py
""".splitlines()
]


def checkout(clone: Path, commit: str, into: Path) -> None:
    """All Python files of a commit."""
    command = ["git", "-C", clone, "archive", commit, "--", ":(glob)**/*.py"]
    archive = subprocess.run(command, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(into, filter="data")


def found(clone: Path, commit: str, fix: Fix) -> bool:
    """Whether the file of a fix has the finding at a commit, as sure as is shown by default."""
    with tempfile.TemporaryDirectory() as folder:
        checkout(clone, commit, Path(folder))
        results = lint([str(Path(folder, fix.file))], select=[fix.code])
    return any(item.code == fix.code and item.confidence == "high" for item in results)


def main(argv: list[str]) -> int:
    """Replay those that are asked for, and say how each went."""
    mirrors, asked = Path(argv[0]), argv[1:]
    failed = 0
    for fix in FIXES:
        if asked and fix.repository not in asked:
            continue
        clone = mirrors / fix.repository.replace("/", "+")
        clone = clone / "repo" if (clone / "repo").is_dir() else clone
        before, after = found(clone, f"{fix.commit}^", fix), found(clone, fix.commit, fix)
        verdict = "replayed" if before and not after else "MISSED" if not before else "STILL FOUND"
        failed += verdict != "replayed"
        print(f"{verdict:11} {fix.code} {fix.repository}@{fix.commit} {fix.file}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
