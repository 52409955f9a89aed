"""python train.py"""

import logging

import torch
from lora import LoRASpec, inject, lora_parameters
from model import freeze, load_llama

log = logging.getLogger(__name__)


def batches(n, device, vocab=80):
    g = torch.Generator().manual_seed(7)
    for _ in range(n):
        ids = torch.randint(0, vocab, (2, 12), generator=g)
        yield ids.to(device)


def main():
    logging.basicConfig(level=logging.INFO)
    torch.manual_seed(7)
    device = "cuda"
    model = load_llama(device=device)
    freeze(model)
    n = inject(model, LoRASpec())
    log.info("%d layers adapted", n)

    params = list(lora_parameters(model))
    opt = torch.optim.Adam(params, lr=1e-3)
    scaler = torch.amp.GradScaler("cuda")

    for i, ids in enumerate(batches(4, device)):
        out = model(input_ids=ids)
        logits = out.logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        scaler.step(opt)
        scaler.update()
        log.info("step %d loss %.3f", i, loss.item())
    torch.save({k: v.cpu() for k, v in model.state_dict().items() if ".A." in k or ".B." in k}, "lora.pt")


if __name__ == "__main__":
    main()
