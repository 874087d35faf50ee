"""Loads a checkpoint of rescom into PyTorch by name and compares logits; then saves a PyTorch network.

    python exchange.py FOLDER ARCH

FOLDER holds `ours.safetensors` (a checkpoint) and `batch.safetensors` (images, logits). Written into it:
`theirs.safetensors` (the state dict of a fresh PyTorch network) and `their_logits.safetensors`.
Prints the largest difference relative to the largest logit; fails above 1e-5.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
from models import Network


def main(folder, arch):
    state = load_file(folder / "ours.safetensors")
    batch = load_file(folder / "batch.safetensors")
    images, want = batch["images"], batch["logits"]
    classes = state["linear.weight"].shape[0]
    # A method without a contrastive part has no projection head.
    dim = state["mlp.3.weight"].shape[0] if "mlp.3.weight" in state else None
    net = Network(arch, images.shape[1], classes, dim).eval()
    # A checkpoint also holds the optimiser and the queue; the network itself must fit strictly.
    own = {k: v for k, v in state.items() if k.startswith(("encoder.", "linear.", "mlp."))}
    net.load_state_dict(own, strict=True)
    with torch.no_grad():
        difference = ((net(images)[0] - want).abs().max() / want.abs().max().clamp_min(1)).item()

    torch.manual_seed(7)
    fresh = Network(arch, images.shape[1], classes, dim)
    with torch.no_grad():
        fresh(images)  # train mode: moves the running statistics
        fresh.eval()
        logits = fresh(images)[0]
    save_file({k: v.contiguous() for k, v in fresh.state_dict().items()}, folder / "theirs.safetensors")
    save_file({"logits": logits}, folder / "their_logits.safetensors")
    print(f"{difference:.2e}")
    return 0 if difference < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
