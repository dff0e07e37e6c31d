#!/usr/bin/python3
"""The training steps of some of snf's experiments, once more, in plain PyTorch: a peer to race.

Model, batch and work per step are those of `snf bench`: dequantization noise, forward, the
reconstruction loss where there is one, backward, Adam. Images are random pixels, as there, and the
learning rate is as tiny, for only the time counts.

    apps/bench/peer_torch.py selfnorm_fc_mnist --threads 2 --steps 50

With --tuned it is run as an expert would: channels last, and freed memory kept; --fused and
--compile add what PyTorch 2 has, Adam in one pass and torch.compile. Needs PyTorch 1.13 or later
and nothing else; --about says which it is. apps/bench/compare.sh runs all beside snf, Debian's
PyTorch tuned with the OpenMP build of OpenBLAS, which shares PyTorch's threads instead of fighting
them for the cores.
"""

import argparse
import ctypes
import functools
import json
import math
import re
import statistics
import sys
import time
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

# A layer maps x to z, one example per row of axis 0, and returns with z what it adds to the
# log-likelihood, in nats: its log-determinant, one per example or one for all.


def sum_examples(x):
    return x.flatten(1).sum(1)


def log_normal(z):
    """log N(z; 0, I) = -1/2 |z|^2 - D/2 log(2 pi)."""
    return -0.5 * sum_examples(z.square()) - 0.5 * z[0].numel() * math.log(2 * math.pi)


tuned = False  # by --tuned


def channels_last(x):
    """If tuned: the layout that PyTorch's convolutions are fastest with. Not by contiguous(), which
    leaves one channel as it is: then a gradient takes a hundred times as long."""
    return x.clone(memory_format=torch.channels_last) if tuned else x


# ---- Square linear layers z = T(W) x + b ----------------------------------------------------


def flip(W):
    """Both axes mirrored, input and output channels swapped: the kernel of T(W)^T."""
    return channels_last(W.flip(2, 3).transpose(0, 1))


@functools.lru_cache(maxsize=None)
def multiplicity(K, H, W):
    """On how many pixels each tap of a K x K kernel meets the image, and not its padding."""
    distance = (torch.arange(K) - K // 2).abs()
    return torch.outer(H - distance, W - distance).to(torch.get_default_dtype())


def convolve(W, x):  # with zero padding
    return F.conv2d(x, W, padding=W.shape[-1] // 2)


def basis(example):
    D = math.prod(example)
    return channels_last(torch.eye(D).view(D, *example))


# x -> T(W) x; its gradient for x where g is that of T(W) x; that for W; T(W)^T as a gradient for
# W, each tap summed over the places where it stands; and the matrix itself, up to a transposition.
DENSE = SimpleNamespace(
    apply=lambda W, x: x @ W.t(),
    input_gradient=lambda W, g: g @ W,
    weight_gradient=lambda W, g, x: g.t() @ x,
    transposed=lambda W, example: W.t(),
    matrix=lambda W, example: W)
CONVOLUTION = SimpleNamespace(
    apply=convolve,
    input_gradient=lambda W, g: convolve(flip(W), g),
    weight_gradient=lambda W, g, x: nn.grad.conv2d_weight(x, W.shape, g, padding=W.shape[-1] // 2),
    transposed=lambda W, example: flip(W) * multiplicity(W.shape[-1], *example[1:]),
    matrix=lambda W, example: convolve(W, basis(example)).flatten(1))


class SelfNormalizingFunction(torch.autograd.Function):
    """z = W x, a log-determinant that is 0 but has a gradient, and |R z - x|^2.

    dW = 1/2 (d_z x^T + R^T),  dR = 1/2 (-(W^T d_z) z^T - W^T): Keller et al., ICML 2021.
    Six products; terms that meet the same weights are added before the product.
    """

    @staticmethod
    def forward(ctx, x, W, R, T):
        z = T.apply(W, x)
        error = T.apply(R, z) - x
        ctx.T = T
        ctx.save_for_backward(x, W, R, z, error)
        return z, x.new_zeros(()), error.square().sum() / len(x)

    @staticmethod
    def backward(ctx, gz, gl, gr):
        x, W, R, z, error = ctx.saved_tensors
        T, example = ctx.T, x.shape[1:]
        gx = T.input_gradient(W, gz)
        ge = error * (2 * gr / len(x))
        gW = T.weight_gradient(W, 0.5 * gz + T.input_gradient(R, ge), x)
        gR = T.weight_gradient(R, ge - 0.5 * gx, z)
        gW += 0.5 * gl * T.transposed(R, example)
        gR -= 0.5 * gl * T.transposed(W, example)
        return gx, gW, gR, None


class Exact(nn.Module):
    """log|det T(W)| by an LU of the matrix."""

    def __init__(self, W, b):
        super().__init__()
        self.W = nn.Parameter(W)
        self.b = nn.Parameter(b if W.dim() == 2 else b[:, None, None])
        self.map = DENSE if W.dim() == 2 else CONVOLUTION

    def forward(self, x):
        logdet = torch.linalg.slogdet(self.map.matrix(self.W, x.shape[1:])).logabsdet
        return self.map.apply(self.W, x) + self.b, logdet


class SelfNormalizing(Exact):
    """The layer of the paper. With GECO, lambda grows by exp(rate C), C an average of the loss."""

    def __init__(self, W, b, weight=1, geco_rate=0):
        super().__init__(W, b)
        self.R = nn.Parameter(W.t().clone() if W.dim() == 2 else flip(W))
        self.weight, self.geco_rate, self.average = weight, geco_rate, None

    def forward(self, x):
        z, logdet, self.reconstruction = SelfNormalizingFunction.apply(x, self.W, self.R, self.map)
        return z + self.b, logdet

    def inverse(self, z):
        return self.map.apply(self.R, z - self.b)

    def adapt_weight(self):  # after the backward pass
        if self.geco_rate != 0:
            loss = self.reconstruction.item()
            self.average = loss if self.average is None else 0.9 * self.average + 0.1 * loss
            self.weight *= math.exp(self.geco_rate * self.average)


# ---- Other convolutions ---------------------------------------------------------------------


class Conv1x1(nn.Module):
    """z = W x for each pixel; logdet = H W log|det W| (Kingma & Dhariwal, NeurIPS 2018)."""

    def __init__(self, C):
        super().__init__()
        self.W = nn.Parameter(nn.init.orthogonal_(torch.empty(C, C)))

    def forward(self, x):
        logdet = x[0, 0].numel() * torch.linalg.slogdet(self.W).logabsdet
        return F.conv2d(x, self.W[:, :, None, None]), logdet


class AutoregressiveConv(nn.Module):
    """A masked 2x2 convolution; logdet = H W sum log|diagonal of the last tap|."""

    def __init__(self, C):
        super().__init__()
        weight, mask = torch.randn(C, C, 2, 2) / (2 * C), torch.ones(C, C, 2, 2)
        weight[:, :, 1, 1] += torch.eye(C)
        mask[:, :, 1, 1] = mask[:, :, 1, 1].tril()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(C))
        self.register_buffer("mask", mask)

    def forward(self, x):
        z = F.conv2d(F.pad(x, (1, 0, 1, 0)), self.weight * self.mask, self.bias)
        return z, x[0, 0].numel() * self.weight[:, :, 1, 1].diagonal().abs().log().sum()


class Emerging(nn.Module):
    """A 1x1 convolution, then two autoregressive ones, the second on the mirrored image
    (Hoogeboom et al., ICML 2019)."""

    def __init__(self, C):
        super().__init__()
        self.mix, self.first, self.second = Conv1x1(C), AutoregressiveConv(C), AutoregressiveConv(C)

    def forward(self, x):
        z, mixed = self.mix(x)
        z, first = self.first(z)
        z, second = self.second(z.flip(2, 3))
        return z.flip(2, 3), mixed + first + second


class ConvExponential(nn.Module):
    """z = exp(T(k)) Q (x + b) + c by six terms of the series; log det exp(T) = trace T. A power
    iteration a step holds the norm of k near 0.9 (Hoogeboom et al., NeurIPS 2020)."""

    def __init__(self, C, H, W):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(C, C, 3, 3) / (9 * C))
        self.before = nn.Parameter(torch.zeros(1, C, H, W))
        self.after = nn.Parameter(torch.zeros(1, C, H, W))
        self.mix = Conv1x1(C)
        self.register_buffer("u", torch.randn(1, C, H, W))

    def normalized_kernel(self):
        with torch.no_grad():
            v = convolve(flip(self.kernel), self.u)
            v /= v.norm()
            self.u = convolve(self.kernel, v)
            self.u /= self.u.norm()
        sigma = (convolve(self.kernel, v) * self.u).sum()
        return self.kernel / ((sigma / 0.9).clamp(min=1) + 1e-5)

    def forward(self, x):
        kernel = self.normalized_kernel()
        term, logdet = self.mix(x + self.before)
        z = term + self.after
        for i in range(1, 7):
            term = convolve(kernel / i, term)
            z = z + term
        return z, logdet + x[0, 0].numel() * kernel[:, :, 1, 1].trace()


# ---- Activations ----------------------------------------------------------------------------


class SmoothLeakyReLU(nn.Module):
    """s(x) = a x + (1 - a) log(1 + e^x), a = 0.3."""

    def value_and_slope(self, x, a=0.3):
        return a * x + (1 - a) * F.softplus(x), a + (1 - a) * torch.sigmoid(x)

    def forward(self, x):
        value, slope = self.value_and_slope(x)
        return value, sum_examples(slope.log())

    def inverse(self, z):  # Newton's method, which converges from anywhere: s is convex
        x = z
        for _ in range(50):
            value, slope = self.value_and_slope(x)
            step = (value - z) / slope
            x = x - step
            if (step.abs() <= 1e-6 * (1 + x.abs())).all():
                break
        return x


class Spline(nn.Module):
    """Monotone rational-quadratic splines of 5 bins on [-10, 10], one for each pixel, the identity
    outside (Durkan et al., NeurIPS 2019); with s = height / width and t the place in the bin

    z = y0 + height (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t)).
    """

    bins, bound, least = 5, 10.0, 1e-3

    def __init__(self, C, H, W):
        super().__init__()
        self.widths = nn.Parameter(0.01 * torch.randn(C * H * W, self.bins))
        self.heights = nn.Parameter(0.01 * torch.randn(C * H * W, self.bins))
        self.derivatives = nn.Parameter(0.01 * torch.randn(C * H * W, self.bins - 1))

    def knots(self, parameters):
        shares = self.least + (1 - self.bins * self.least) * F.softmax(parameters, 1)
        return F.pad(2 * self.bound * shares.cumsum(1) - self.bound, (1, 0), value=-self.bound)

    def slopes(self):
        shift = math.log(math.expm1(1 - self.least))  # so that zeros are the identity
        return F.pad(self.least + F.softplus(self.derivatives + shift), (1, 1), value=1.0)

    def find_bins(self, x, inverse=False):
        """(B, C, H, W) -> a row per pixel, as the parameters have: x, is it inside, where (else 0),
        and of its bin x0, y0, width, height and the slopes d0, d1."""
        x = x.permute(1, 2, 3, 0).reshape(-1, len(x)).contiguous()
        inside = x.abs() <= self.bound
        place = torch.where(inside, x, 0.0)
        X, Y, d = self.knots(self.widths), self.knots(self.heights), self.slopes()
        inner = (Y if inverse else X)[:, 1:-1].detach().contiguous()
        k = torch.searchsorted(inner, place, right=True)
        x0, x1, y0, y1, d0, d1 = (t.gather(1, i) for t in (X, Y, d) for i in (k, k + 1))
        return x, inside, place, x0, y0, x1 - x0, y1 - y0, d0, d1

    def images(self, rows, shape):
        return channels_last(rows.view(*shape[1:], shape[0]).permute(3, 0, 1, 2))

    def forward(self, images):
        x, inside, place, x0, y0, width, height, d0, d1 = self.find_bins(images)
        s, t = height / width, (place - x0) / width
        u = t * (1 - t)
        denominator = s + (d0 + d1 - 2 * s) * u
        z = y0 + height * (s * t.square() + d0 * u) / denominator
        slope = s.square() * (d1 * t.square() + 2 * s * u + d0 * (1 - t).square())
        log_slope = slope.log() - 2 * denominator.log()
        z, log_slope = torch.where(inside, z, x), torch.where(inside, log_slope, 0.0)
        return self.images(z, images.shape), log_slope.sum(0)

    def inverse(self, images):  # the root t = 2 c / (-b - sqrt(b^2 - 4 a c)) of a quadratic
        z, inside, place, x0, y0, width, height, d0, d1 = self.find_bins(images, inverse=True)
        s, above = height / width, place - y0
        bend = above * (d0 + d1 - 2 * s)
        a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * above
        t = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        return self.images(torch.where(inside, x0 + width * t, z), images.shape)


# ---- Glow -----------------------------------------------------------------------------------


class Squeeze(nn.Module):
    """Each 2 x 2 block of pixels becomes 4 channels of one pixel; logdet = 0."""

    def forward(self, x):
        return channels_last(F.pixel_unshuffle(x, 2)), 0

    def inverse(self, z):
        return F.pixel_shuffle(z, 2)


class ActNorm(nn.Module):
    """z = (x - translation) exp(-log_scale), from the first batch; logdet = -H W sum log_scale."""

    def __init__(self, C):
        super().__init__()
        self.translation = nn.Parameter(torch.zeros(C, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(C, 1, 1))
        self.initialized = False

    @torch.no_grad()
    def initialize(self, x):
        std, mean = torch.std_mean(x, (0, 2, 3))
        self.translation.copy_(mean[:, None, None])
        self.log_scale.copy_((std + 1e-8).log()[:, None, None])
        self.initialized = True

    def forward(self, x):
        if not self.initialized:
            self.initialize(x)
        z = (x - self.translation) * (-self.log_scale).exp()
        return z, -x[0, 0].numel() * self.log_scale.sum()

    def inverse(self, z):
        return z * self.log_scale.exp() + self.translation


class Coupling(nn.Module):
    """z1 = x1, z2 = s x2 + t, log s = 2 tanh(h / 2); h and t are the even and odd channels of a
    network of x1; logdet = sum log s."""

    def __init__(self, C, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(C // 2, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True),
            nn.Conv2d(width, C, 3, padding=1))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)
        self.logs = nn.Parameter(torch.zeros(C, 1, 1))

    def split(self, x):
        x1, x2 = x.chunk(2, 1)
        out = self.net(x1) * (3 * self.logs).exp()
        return x1, x2, 2 * torch.tanh(out[:, 0::2] / 2), out[:, 1::2]

    def forward(self, x):
        x1, x2, log_scale, shift = self.split(x)
        return torch.cat([x1, x2 * log_scale.exp() + shift], 1), sum_examples(log_scale)

    def inverse(self, z):
        z1, z2, log_scale, shift = self.split(z)
        return torch.cat([z1, (z2 - shift) * (-log_scale).exp()], 1)


class SplitPrior(Coupling):
    """After a coupling the second half of the channels is held to be N(0, I), and leaves."""

    def forward(self, x):
        z, logdet = super().forward(x)
        stays, leaves = z.chunk(2, 1)
        return stays, logdet + log_normal(leaves)

    def inverse(self, z):
        return super().inverse(torch.cat([z, torch.randn_like(z)], 1))


# ---- Models ---------------------------------------------------------------------------------


def fc_layers(layer, D=784):
    yield layer(torch.eye(D), torch.randn(D) / math.sqrt(D))
    yield SmoothLeakyReLU()
    yield layer(torch.eye(D), torch.randn(D) / math.sqrt(D))


def same_convolution(layer, C, K, *options):
    """Dirac's kernel and a little noise, or for a single tap a random orthogonal matrix."""
    noise = nn.init.xavier_normal_(torch.empty(C, C, K, K), gain=0.01)
    if K == 1:
        W = nn.init.orthogonal_(torch.empty(C, C)).view(C, C, 1, 1)
    else:
        W = nn.init.dirac_(torch.empty(C, C, K, K)) + noise
    return layer(W, noise.std() * torch.randn(C), *options)


def cnn_layers(layer):
    for i in range(9):
        block = i // 3
        C, H = 4**block, 28 // 2**block
        if i in (3, 6):
            yield Squeeze()
        yield layer(C, H, H)
        if i < 8:
            yield Spline(C, H, H)


def glow_layers(steps, width, K, recon_weight, geco_rate):
    for block, C in enumerate((4, 8)):
        yield Squeeze()
        for _ in range(steps):
            yield ActNorm(C)
            yield same_convolution(SelfNormalizing, C, K, recon_weight, geco_rate)
            yield Coupling(C, width)
        if block == 0:
            yield SplitPrior(C, width)


EXPERIMENTS = {
    "selfnorm_fc_mnist": lambda: fc_layers(SelfNormalizing),
    "exact_fc_mnist": lambda: fc_layers(Exact),
    "selfnorm_cnn_mnist": lambda: cnn_layers(lambda C, *_: same_convolution(SelfNormalizing, C, 3)),
    "exact_cnn_mnist": lambda: cnn_layers(lambda C, *_: same_convolution(Exact, C, 3)),
    "emerging_cnn_mnist": lambda: cnn_layers(lambda C, *_: Emerging(C)),
    "exponential_cnn_mnist": lambda: cnn_layers(ConvExponential),
    "geco_selfnorm_glow_mnist": lambda: glow_layers(4, 16, 5, 1, 1e-3),
    "selfnorm_glow_mnist": lambda: glow_layers(16, 512, 1, 100, 0),
}


class Model(nn.Module):
    """Dequantization, logit, and an experiment's layers before a standard normal."""

    a = 1e-6  # pixels are squeezed into (a, 1 - a)

    def __init__(self, experiment):
        super().__init__()
        self.images = "fc" not in experiment.split("_")  # or flat vectors
        self.layers = nn.ModuleList(EXPERIMENTS[experiment]())
        self.self_normalizing = [m for m in self.layers if isinstance(m, SelfNormalizing)]

    def loss(self, pixels):
        """-mean objective plus lambda |R W x - x|^2; the objective is the log-likelihood, but lacks
        log-determinants where only their gradients are known."""
        x = self.a + (1 - 2 * self.a) / 256 * (pixels + torch.rand_like(pixels))
        x = channels_last(x) if self.images else x.flatten(1)
        log_x, log_rest = x.log(), (1 - x).log()
        objective = x[0].numel() * math.log((1 - 2 * self.a) / 256) - sum_examples(log_x + log_rest)
        z = log_x - log_rest
        for layer in self.layers:
            z, logdet = layer(z)
            objective = objective + logdet
        self.latent = z.shape[1:]
        loss = -(objective + log_normal(z)).mean()
        return loss + sum(m.weight * m.reconstruction for m in self.self_normalizing)

    @torch.no_grad()
    def sample(self, n):
        """Pixels 0..255 by the learned inverse."""
        z = torch.randn(n, *self.latent)
        x = channels_last(z) if self.images else z
        for layer in reversed(self.layers):
            x = layer.inverse(x)
        return (256 * (torch.sigmoid(x) - self.a) / (1 - 2 * self.a)).floor()


def training_step(model, loss_of, optimizer, pixels):
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(pixels)
    loss.backward()
    for layer in model.self_normalizing:
        layer.adapt_weight()
    optimizer.step()
    return loss.item()


# ---- Timing ---------------------------------------------------------------------------------


def milliseconds(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return 1000 * (time.perf_counter() - start)


def sampling_ms(model):
    """Of 100 samples: the median of several calls, as many as snf bench makes."""
    model.sample(100)
    ms = []
    while sum(ms) < 500 and len(ms) < 50:
        ms.append(milliseconds(model.sample, 100))
    return statistics.median_high(ms)


def loaded_with(function, name):
    """The libraries of this process of such a name that have the function, as ctypes has them."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps}
    found = [ctypes.CDLL(path) for path in sorted(paths) if re.search(rf"/lib[^/]*{name}[^/]*\.so", path)]
    return [library for library in found if hasattr(library, function)]


def loaded_openblas():
    torch.ones(2, 2) @ torch.ones(2, 2)
    return loaded_with("openblas_get_corename", "blas")


def prepare_process(threads):
    """The threads. If tuned, no freed tensor goes back to the kernel, for clearing new pages costs
    more than the arithmetic. (PyTorch's tuning guide takes another malloc for the same reason.)"""
    torch.set_num_threads(threads)
    for openblas in loaded_openblas():
        openblas.openblas_set_num_threads(threads)  # torch does not tell it
    if tuned:
        libc, trim_threshold, mmap_max = ctypes.CDLL(None), -1, -4  # names as in malloc.h
        libc.mallopt(trim_threshold, -1)
        libc.mallopt(mmap_max, 0)


def adam(parameters, fused):
    return torch.optim.Adam(parameters, lr=1e-7, **({"fused": True} if fused else {}))


def bench(experiment, threads, steps, batch_size, fused=False, compiled=False):
    prepare_process(threads)
    torch.manual_seed(0)
    model = Model(experiment)
    optimizer = adam(model.parameters(), fused)
    loss_of = torch.compile(model.loss) if compiled else model.loss
    pixels = (256 * torch.rand(batch_size, 1, 28, 28)).floor()
    uncounted = 2 if experiment == "selfnorm_glow_mnist" else 3
    if compiled:
        uncounted += 2  # ActNorm takes another way in the first: that is compiled, too
    step = functools.partial(training_step, model, loss_of, optimizer, pixels)
    ms = [milliseconds(step) for _ in range(uncounted + steps)]
    ms = ms[uncounted:]
    return {
        "experiment": experiment,
        "threads": threads,
        "batch_size": batch_size,
        "steps": steps,
        "tuned": tuned,
        "fused": fused,
        "compiled": compiled,
        "parameters": sum(p.numel() for p in model.parameters()),
        "ms_per_step": {"min": min(ms), "median": statistics.median_high(ms), "max": max(ms)},
        "sampling_100_ms": sampling_ms(model) if model.self_normalizing else None,
    }


# ---- Which PyTorch this is ------------------------------------------------------------------


def works(attempt):
    try:
        attempt()
        return True
    except Exception:  # whatever an older or smaller PyTorch answers
        return False


def take_fused_step():
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    adam([parameter], fused=True).step()


def onednn_instructions():
    """What its kernels are made of, which is not what PyTorch's own are made of: it asks the
    processor itself, and ONEDNN_MAX_CPU_ISA."""
    for library in loaded_with("dnnl_get_effective_cpu_isa", "(dnnl|torch_cpu)"):
        isa = library.dnnl_get_effective_cpu_isa()
        for name, bit in (("AVX-512", 0x20), ("AVX2", 0x4), ("AVX", 0x2), ("SSE4.1", 0x1)):
            if isa & bit:
                return name
    return "instructions that it does not name"


def libraries():
    """What multiplies and convolves, in words."""
    found, config = [], torch.__config__.show()
    for openblas in loaded_openblas():
        openblas.openblas_get_config.restype = ctypes.c_char_p
        openblas.openblas_get_corename.restype = ctypes.c_char_p
        version = openblas.openblas_get_config().split()[1].decode()
        found.append(f"OpenBLAS {version} with its {openblas.openblas_get_corename().decode()} kernels")
    for name, pattern in (("MKL", r"Math Kernel Library Version (\S+)"), ("oneDNN", r"MKL-DNN v(\S+)"),
                          ("its own kernels for", r"CPU capability usage: (\S+)")):
        match = re.search(pattern, config)
        if match:
            by = f" with {onednn_instructions()}" if name == "oneDNN" else ""
            found.append(f"{name} {match[1]}{by}")
    return ", ".join(dict.fromkeys(found)) or "libraries that it does not name"


def about():
    return {"torch": torch.__version__, "libraries": libraries(), "fused": works(take_fused_step),
            "compile": works(lambda: torch.compile(torch.exp)(torch.ones(3)))}


def fail(message):
    print("peer_torch: " + message, file=sys.stderr)
    sys.exit(2)


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        fail(f"expected a number above 0, got '{text}'")
    return int(text)


def main():
    known = "known: " + ", ".join(EXPERIMENTS)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=known)
    parser.error = fail
    parser.add_argument("experiment", metavar="EXPERIMENT", nargs="?")
    number = {"type": positive, "metavar": "N"}
    parser.add_argument("--threads", default=2, help="default: 2", **number)
    parser.add_argument("--steps", default=50, help="timed steps; default: 50", **number)
    parser.add_argument("--batch-size", default=100, help="images per step; default: 100", **number)
    parser.add_argument("--tuned", action="store_true", help="channels last, memory is kept")
    parser.add_argument("--fused", action="store_true", help="Adam in one pass over the parameters")
    parser.add_argument("--compile", action="store_true", help="the loss by torch.compile")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--about", action="store_true", help="print which PyTorch this is, as JSON")
    options = parser.parse_args()
    if options.about:
        print(json.dumps(about()))
        return
    if options.experiment is None:
        fail(f"expected an experiment; {known}")
    if options.experiment not in EXPERIMENTS:
        fail(f"there is no '{options.experiment}'; {known}")
    global tuned
    tuned = options.tuned
    report = bench(options.experiment, options.threads, options.steps, options.batch_size,
                   options.fused, options.compile)
    if options.json:
        print(json.dumps(report))
        return
    print("{experiment}, {parameters} parameters, {threads} threads, batches of {batch_size}, "
          "{steps} steps".format(**report))
    ms = report["ms_per_step"]
    print("ms per step: median {median:.2f}, min {min:.2f}, max {max:.2f}".format(**ms))
    if report["sampling_100_ms"] is not None:
        print("sampling 100 images, learned inverse: {sampling_100_ms:.2f} ms".format(**report))


if __name__ == "__main__":
    main()
