import argparse

import torch
from lora import LoRAViT
from model import ViT


def get_args():
    ap = argparse.ArgumentParser("LoRA-ViT")
    ap.add_argument("--rank", "-r", type=int, default=2)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--epochs", type=int, default=2)
    ap.add_argument("--fp16", action="store_true", default=True)
    return ap.parse_args([])


def main(args):
    torch.manual_seed(11)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = LoRAViT(ViT(), args.rank).to(device)
    print(f"trainable {net.share():.1%}")

    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=args.lr)
    scaler = torch.amp.GradScaler(device.type, enabled=args.fp16)
    loss_func = torch.nn.CrossEntropyLoss().to(device)
    images, labels = torch.rand(8, 3, 8, 8), torch.randint(0, 5, (8,))
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)

    for epoch in range(args.epochs):
        net.train()
        for image, label in loader:
            image, label = image.to(device), label.to(device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.float16, enabled=args.fp16):
                loss = loss_func(net(image), label)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        print(epoch, loss.item())


if __name__ == "__main__":
    main(get_args())
