"""Peer of benches/gradient_kernel.rs: the same loss with PyTorch, gradient by autograd, float32, in two ways.

    python3 benches/peers/torch_supcon.py

`mask` is the loss as it is written down; `means` uses what ours uses, that the pull of all positives of an
anchor is the mean of the keys of its class.
"""
import statistics
import time

import torch


def mask(anchors, anchor_labels, keys, key_labels, t):
    positive = anchor_labels[:, None] == key_labels[None, :]
    log_pi = torch.log_softmax(anchors @ keys.T / t, dim=1)
    return -((log_pi * positive).sum(1) / positive.sum(1)).mean()


def means(anchors, anchor_labels, keys, key_labels, t):
    """The same without a mask: every class of an anchor has a key."""
    classes = int(key_labels.max()) + 1
    sums = torch.zeros(classes, keys.shape[1]).index_add_(0, key_labels, keys)
    positive = (sums / torch.bincount(key_labels)[:, None])[anchor_labels]
    scaled = anchors / t
    return (torch.logsumexp(scaled @ keys.T, dim=1) - (scaled * positive).sum(1)).mean()


def features(rows):
    f = torch.nn.functional.normalize(torch.randn(rows, 128))
    return f, torch.arange(rows) * 7919 % 100


def main():
    torch.manual_seed(0)
    for m, n in [(256, 4096), (1024, 4096), (4096, 16384)]:
        anchors, la = features(m)
        keys, lk = features(n)
        anchors.requires_grad_()
        grads = []
        for way in (mask, means):
            times = []
            for _ in range(12):
                anchors.grad = None
                start = time.perf_counter()
                way(anchors, la, keys, lk, 0.1).backward()
                times.append(time.perf_counter() - start)
            print(f"torch {torch.__version__} {way.__name__} {m}x{n}: median {1e3 * statistics.median(times[2:]):.2f} ms")
            grads.append(anchors.grad)
        assert (grads[0] - grads[1]).abs().max() < 1e-5 * grads[0].abs().max()


if __name__ == "__main__":
    main()
