"""A network of adapters beside the model: each takes over the forward of one layer."""

import torch


class LoRAModule(torch.nn.Module):
    def __init__(self, lora_name, org_module, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__()
        self.lora_name = lora_name
        if org_module.__class__.__name__ == "Conv2d":
            in_dim = org_module.in_channels
            out_dim = org_module.out_channels
            self.lora_down = torch.nn.Conv2d(in_dim, lora_dim, (1, 1), (1, 1), bias=False)
            self.lora_up = torch.nn.Conv2d(lora_dim, out_dim, (1, 1), (1, 1), bias=False)
        else:
            in_dim = org_module.in_features
            out_dim = org_module.out_features
            self.lora_down = torch.nn.Linear(in_dim, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, out_dim, bias=False)
        self.scale = alpha / lora_dim
        torch.nn.init.kaiming_uniform_(self.lora_down.weight, a=1)
        torch.nn.init.zeros_(self.lora_up.weight)
        self.multiplier = multiplier
        self.org_module = [org_module]

    def apply_to(self):
        self.org_forward = self.org_module[0].forward
        self.org_module[0].forward = self.forward

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale


class LoRANetwork(torch.nn.Module):
    PREFIX = "lora_unet"

    def __init__(self, unet, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__()
        self.unet_loras = torch.nn.ModuleList()
        for name, module in unet.named_modules():
            if module.__class__.__name__ in ("Linear", "Conv2d"):
                lora_name = f"{self.PREFIX}.{name}".replace(".", "_")
                self.unet_loras.append(LoRAModule(lora_name, module, multiplier, lora_dim, alpha))
        print(f"create LoRA for U-Net: {len(self.unet_loras)} modules.")

    def apply_to(self):
        for lora in self.unet_loras:
            lora.apply_to()

    def prepare_optimizer_params(self, lr):
        params = []
        for lora in self.unet_loras:
            params.extend(lora.parameters())
        return [{"params": params, "lr": lr}]


class TinyUNet(torch.nn.Module):
    def __init__(self, channels=3, hidden=8):
        super().__init__()
        self.conv_in = torch.nn.Conv2d(channels, hidden, 1)
        self.time = torch.nn.Linear(1, hidden)
        self.conv_out = torch.nn.Conv2d(hidden, channels, 1)

    def forward(self, x, t):
        h = torch.nn.functional.silu(self.conv_in(x))
        h = h + self.time(t.float().unsqueeze(-1))[:, :, None, None]
        return self.conv_out(h)


def train():
    torch.manual_seed(0)
    device = torch.device("cuda")
    unet = TinyUNet()
    unet.requires_grad_(False)
    unet.to(device)

    network = LoRANetwork(unet, lora_dim=2)
    network.apply_to()
    network.to(device)

    optimizer = torch.optim.AdamW(network.prepare_optimizer_params(1e-3))
    noise_levels = torch.linspace(0.1, 1.0, 10, device=device)
    for _ in range(4):
        latents = torch.randn(4, 3, 4, 4, device=device)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 10, (latents.shape[0],), device=device)
        level = noise_levels[timesteps][:, None, None, None]
        pred = unet(latents + level * noise, timesteps)
        loss = torch.nn.functional.mse_loss(pred.float(), noise.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    train()
