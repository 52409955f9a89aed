import torch
from lora_attention import add_lora
from unet import Denoiser


def main():
    torch.manual_seed(0)
    device = torch.device("cuda")
    unet = Denoiser()
    unet.requires_grad_(False)
    lora_layers = add_lora(unet)
    unet.to(device)
    lora_layers.to(device)

    optimizer = torch.optim.AdamW(lora_layers.parameters(), lr=1e-3, weight_decay=1e-2)
    for step in range(4):
        latents = torch.randn(2, 6, 4)
        latents = latents.to(device)
        context = torch.randn(2, 3, 12, device=device)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 100, (len(latents),), device=device)
        noisy = latents + noise * (timesteps / 100).view(-1, 1, 1)
        pred = unet(noisy, timesteps, context)
        loss = torch.nn.functional.mse_loss(pred, noise, reduction="mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora_layers.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(step, loss.detach().item())


if __name__ == "__main__":
    main()
