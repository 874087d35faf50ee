"""Peer of benches/gradient_kernel.rs: the same loss with PyTorch, gradient by autograd, float32.

    python3 benches/peers/torch_supcon.py
"""
import statistics
import time

import torch


def features(rows):
    f = torch.nn.functional.normalize(torch.randn(rows, 128))
    return f, torch.arange(rows) * 7919 % 100


def main():
    torch.manual_seed(0)
    for m, n in [(256, 4096), (1024, 4096), (4096, 16384)]:
        anchors, la = features(m)
        keys, lk = features(n)
        anchors.requires_grad_()
        times = []
        for _ in range(12):
            anchors.grad = None
            start = time.perf_counter()
            positive = la[:, None] == lk[None, :]
            log_pi = torch.log_softmax(anchors @ keys.T / 0.1, dim=1)
            loss = -((log_pi * positive).sum(1) / positive.sum(1)).mean()
            loss.backward()
            times.append(time.perf_counter() - start)
        print(f"torch {torch.__version__} {m}x{n}: median {1e3 * statistics.median(times[2:]):.2f} ms")


if __name__ == "__main__":
    main()
