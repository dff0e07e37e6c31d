#!/usr/bin/python3
"""Single ops in PyTorch: the rows of apps/bench/op_times, which times ours, in the same form.

A line per op and shape: its name, and by tabs the microseconds of the value and those of value and
gradients; medians. apps/bench/compare.sh ops runs both in turns.

    apps/bench/peer_ops.py --threads 2 --rows conv
"""

import argparse
import math
import statistics
import time

import torch
import torch.nn.functional as F

from peer_torch import fail, positive, prepare_process

MILLION, IMAGES = (1000, 1000), (100, 64, 28, 28)

POINTWISE = {
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "log1p": lambda x: torch.log1p(x * x),
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "square": torch.square,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-1, 1),
    "pow3": lambda x: x**3,
}


def add(a, b):
    return a + b


def multiply(a, b):
    return a * b


def logsumexp(x):
    return x.logsumexp(1)


# Name, shapes of the operands, op.
OTHERS = [
    ("exp 100", [(100,)], torch.exp),
    ("add same 1M", [MILLION, MILLION], add),
    ("mul row 1M", [MILLION, (1000,)], multiply),
    ("mul column 1M", [MILLION, (1000, 1)], multiply),
    ("add channel 100x64x28x28", [IMAGES, (64, 1, 1)], add),
    ("mul outer 1000x1 1x1000", [(1000, 1), (1, 1000)], multiply),
    ("add 3-d middle 100x1x784 + 1x50x784", [(100, 1, 784), (1, 50, 784)], add),
    ("div same 1M", [MILLION, MILLION], lambda a, b: a / b),
    ("sum all 1M", [MILLION], lambda x: x.sum()),
    ("sum axis0 1M", [MILLION], lambda x: x.sum(0)),
    ("sum axis1 1M", [MILLION], lambda x: x.sum(1)),
    ("sum axis0 100000x8", [(100000, 8)], lambda x: x.sum(0)),
    ("sum axis1 100000x8", [(100000, 8)], lambda x: x.sum(1)),
    ("sum axes 0,2,3 100x64x28x28", [IMAGES], lambda x: x.sum((0, 2, 3))),
    ("sum axis1 100x64x784", [(100, 64, 784)], lambda x: x.sum(1)),
    ("max axis1 1M", [MILLION], lambda x: x.amax(1)),
    ("max axis0 1M", [MILLION], lambda x: x.amax(0)),
    ("logsumexp axis1 1M", [MILLION], logsumexp),
    ("logsumexp axis1 100000x10", [(100000, 10)], logsumexp),
    ("softmax axis1 1M", [MILLION], lambda x: x.softmax(1)),
    ("softmax axis1 100000x10", [(100000, 10)], lambda x: x.softmax(1)),
    ("softmax axis0 1M", [MILLION], lambda x: x.softmax(0)),
    ("cumsum axis1 1M", [MILLION], lambda x: x.cumsum(1)),
    ("cumsum axis0 1M", [MILLION], lambda x: x.cumsum(0)),
    ("transpose 1M", [MILLION], lambda x: x.t().contiguous()),
    ("transpose 1024", [(1024, 1024)], lambda x: x.t().contiguous()),
    ("permute 0231 100x64x28x28", [IMAGES], lambda x: x.permute(0, 2, 3, 1).contiguous()),
    ("permute 2103 50x50x50x8", [(50, 50, 50, 8)], lambda x: x.permute(2, 1, 0, 3).contiguous()),
    ("slice axis1 1M half", [MILLION], lambda x: x[:, :500].contiguous()),
    ("flip axis1 1M", [MILLION], lambda x: x.flip(1)),
    ("concat axis1 2x(1000x500)", [(1000, 500)] * 2, lambda a, b: torch.cat([a, b], 1)),
]

PRODUCTS = [  # (m, k) x (k, n)
    (100, 784, 784), (512, 512, 512), (1024, 1024, 1024), (1000, 2, 32), (256, 32, 32),
    (10000, 64, 64), (1, 784, 784), (784, 1, 784), (100, 783, 785), (8, 4096, 8), (64, 10000, 64),
    (2000, 3, 3)]

CONVOLUTIONS = [  # images, channels, height and width, outputs, kernel
    (100, 1, 28, 1, 3), (100, 4, 14, 4, 3), (100, 16, 7, 16, 3), (100, 3, 32, 64, 3),
    (32, 64, 32, 64, 3), (100, 512, 8, 512, 1), (16, 256, 16, 256, 3), (100, 1, 28, 16, 5),
    (1, 3, 224, 16, 3), (100, 32, 14, 32, 7)]


def near_identity(n):
    return torch.eye(n) + 0.1 / math.sqrt(n) * torch.randn(n, n)


def rows():
    """Name, a function that makes the operands, op."""
    def normal(*shapes):
        return lambda: [torch.randn(shape) for shape in shapes]

    for name, op in POINTWISE.items():
        yield name + " 1M", normal(MILLION), op
    for name, shapes, op in OTHERS:
        yield name, normal(*shapes), op
    for m, k, n in PRODUCTS:
        yield f"matmul {m}x{k}x{n}", normal((m, k), (k, n)), torch.matmul
    for B, C, H, O, K in CONVOLUTIONS:
        images, kernels = (B, C, H, H), (O, C, K, K)
        yield (f"conv {B}x{C}x{H}x{H} -> {O}, {K}",
               lambda images=images, kernels=kernels: [torch.randn(images), 0.1 * torch.randn(kernels)],
               lambda x, w, K=K: F.conv2d(x, w, padding=K // 2))
    for n in (16, 64, 256, 784):
        yield (f"logabsdet {n}", lambda n=n: [near_identity(n)],
               lambda a: torch.linalg.slogdet(a).logabsdet)


def median_us(work):
    """Of 7 runs or more, for 150 ms, but of 400 at most."""
    for _ in range(3):
        work()
    us = []
    while len(us) < 7 or (sum(us) < 150e3 and len(us) < 400):
        start = time.perf_counter()
        work()
        us.append(1e6 * (time.perf_counter() - start))
    return statistics.median(us)


def print_row(name, operands, op):
    operands = [x.requires_grad_() for x in operands()]
    with torch.no_grad():
        forward = median_us(lambda: op(*operands))
    ones = torch.ones_like(op(*operands))

    def both():
        for x in operands:
            x.grad = None
        op(*operands).backward(ones)

    print(f"{name}\t{forward:.2f}\t{median_us(both):.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.error = fail
    parser.add_argument("--threads", default=2, type=positive, metavar="N", help="default: 2")
    parser.add_argument("--rows", default="", metavar="TEXT", help="those with it in their names")
    options = parser.parse_args()
    prepare_process(options.threads)
    wanted = [row for row in rows() if options.rows in row[0]]
    if not wanted:
        fail(f"no row's name has '{options.rows}' in it")
    for row in wanted:
        print_row(*row)


if __name__ == "__main__":
    main()
