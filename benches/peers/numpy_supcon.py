"""Peer of benches/gradient_kernel.rs: the same loss and gradient with NumPy, float32, in two ways. Reads
"WAY ANCHORS KEYS" and answers with calls per second.

`mask` is the loss as it is written down; `means` uses what ours uses, that the pull of all positives of an
anchor is the mean of the keys of its class.
"""
import sys

import numpy as np

from timing import rate


def mask(anchors, anchor_labels, keys, key_labels, t):
    """Loss and dL/d anchors [M, D]; in place where NumPy allows it."""
    logits = anchors @ keys.T
    positive = anchor_labels[:, None] == key_labels[None, :]
    count = positive.sum(axis=1, dtype=np.float32)
    logits *= np.float32(1 / t)
    largest = logits.max(axis=1, keepdims=True)
    pulled = np.einsum("ij,ij->i", logits, positive, dtype=np.float32) / count
    logits -= largest
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    loss = float(np.mean(largest[:, 0] + np.log(total[:, 0]) - pulled))
    unit = np.float32(1 / (t * len(anchors)))
    logits *= unit / total
    logits -= positive * (unit / count)[:, None]
    return loss, logits @ keys


def means(anchors, anchor_labels, keys, key_labels, t):
    """The same without a mask: every class of an anchor has a key."""
    classes, owner = np.unique(key_labels, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(len(classes)))
    sums = np.add.reduceat(keys[order], first, axis=0)
    mean = sums / np.bincount(owner).astype(np.float32)[:, None]
    positive = mean[np.searchsorted(classes, anchor_labels)]
    scaled = anchors * np.float32(1 / t)
    logits = scaled @ keys.T
    largest = logits.max(axis=1, keepdims=True)
    logits -= largest
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    pulled = np.einsum("ij,ij->i", scaled, positive)
    loss = float(np.mean(largest[:, 0] + np.log(total[:, 0]) - pulled))
    grad = logits @ keys
    grad /= total
    grad -= positive
    grad *= np.float32(1 / (t * len(anchors)))
    return loss, grad


def features(rows, rng):
    f = rng.standard_normal((rows, 128), dtype=np.float32)
    return f / np.linalg.norm(f, axis=1, keepdims=True), np.arange(rows) * 7919 % 100


def main():
    print(f"NumPy {np.__version__}", flush=True)
    rng = np.random.default_rng(0)
    for line in sys.stdin:
        way, m, n = line.split()
        (anchors, la), (keys, lk) = features(int(m), rng), features(int(n), rng)
        ways = {"mask": mask, "means": means}
        (loss, grad), (other_loss, other_grad) = (f(anchors, la, keys, lk, 0.1) for f in ways.values())
        assert abs(loss - other_loss) < 1e-5 and abs(grad - other_grad).max() < 1e-5 * abs(grad).max()
        print(rate(lambda: ways[way](anchors, la, keys, lk, 0.1)), flush=True)


if __name__ == "__main__":
    main()
