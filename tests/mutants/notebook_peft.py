import marimo

app = marimo.App()

with app.setup:
    import marimo as mo
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM


@app.function
def trainable_share(net):
    total = sum(p.numel() for p in net.parameters())
    return sum(p.numel() for p in net.parameters() if p.requires_grad) / total


@app.cell
def _():
    choice = mo.ui.dropdown(["gpt2", "gpt2-medium"], value="gpt2")
    r = mo.ui.slider(2, 32, step=2, value=8)
    choice, r
    return choice, r


@app.cell
def _(choice):
    base = AutoModelForCausalLM.from_pretrained(choice.value)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base.to(device)
    return base, device


@app.cell
def _(base, r):
    config = LoraConfig(
        r=r.value,
        lora_alpha=2 * r.value,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )
    peft_model = get_peft_model(base, config)
    mo.md(f"**{trainable_share(peft_model):.2%}** of the weights will be trained")
    return (peft_model,)


@app.cell
def _(peft_model):
    optimizer = torch.optim.AdamW(peft_model.parameters(), lr=3e-3)
    return (optimizer,)


@app.cell
def _(device, optimizer, peft_model):
    losses = []
    peft_model.train()
    for _epoch in range(2):
        for _i in range(2):
            input_ids = torch.randint(0, 500, (2, 12), device=device)
            out = peft_model(input_ids=input_ids, labels=input_ids)
            out.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(out.loss.item())
    losses
    return


if __name__ == "__main__":
    app.run()
