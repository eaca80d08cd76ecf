"""Training WGAN-GP and BigBiGAN on images of 28 x 28: a plain eager float32 loop, written here as papers' code has it, against ours.

`python -m bench.adversarial [--quick] [--data data/prepared/mnist]`. Both sides begin with the same networks (two convolutions of 32 and
64 channels each way), take the same batches of 128 by Adam, and evaluate the same terms in each step. Ours runs them through
`stages.train` with `autocast` (matrix products and convolutions in bfloat16, the penalties in float32) and `channels_last`; in it are
also the moving average of the weights, the curve and the checks for finite losses, which the plain loop does without. Quality is the
Frechet distance of 2,000 samples to test images, both averaged over squares of 4 x 4 pixels. `limit` is the ratio at which nothing but
our convolutions would be left of a step: the profiler's seconds in them against the plain loop's whole time. Without `--data` the images
are the digits of scikit-learn enlarged threefold, each shifted at random.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.images import images
from bench.pairs import Timed, closing_line, in_convolutions, timed
from stages.evaluate.distribution import frechet_distance
from stages.models import bigbigan, gan
from stages.models.base import image_tensor
from stages.train.loop import train
from stages.train.settings import TrainSettings

BATCH, RATE, BETAS, THREADS = 128, 5e-4, (0.0, 0.99), 2
META = {"shape": [28, 28, 1], "classes": 10}
WGAN = gan.Config(latent=64, channels=(32, 64), objective="wasserstein", penalty="interpolates", gamma=10.0, penalty_every=4,
                  discriminator_steps=2)
BIGBIGAN = bigbigan.Config(latent=32, channels=(32, 64), features=128, joint=(128,), gamma=0.1, penalty_every=8)


def plain_wgan(net: gan.Model, x: Tensor, steps: int, seed: int) -> None:
    """The critic's and the generator's step of WGAN-GP in turn."""
    rng, optimizers = np.random.default_rng(seed), _adam(net.generator, net.discriminator)
    for step in range(steps):
        for _ in range(WGAN.discriminator_steps):
            real = x[rng.integers(len(x), size=BATCH)]
            fake = torch.sigmoid(net.generator(torch.randn(BATCH, WGAN.latent))).view(-1, 1, 28, 28).detach()
            loss = net.discriminator(2 * fake - 1).mean() - net.discriminator(2 * real - 1).mean()
            if step % WGAN.penalty_every == 0:
                share = torch.rand(BATCH, 1, 1, 1)
                between = (share * real + (1 - share) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(net.discriminator(2 * between - 1).sum(), between, create_graph=True)
                loss = loss + WGAN.penalty_every * WGAN.gamma * (slope.flatten(1).norm(dim=1) - 1).square().mean()
            _step(optimizers[1], loss)
        fake = torch.sigmoid(net.generator(torch.randn(BATCH, WGAN.latent))).view(-1, 1, 28, 28)
        _step(optimizers[0], -net.discriminator(2 * fake - 1).mean())


def plain_bigbigan(net: bigbigan.Model, x: Tensor, steps: int, seed: int) -> None:
    """The discriminator's step, then that of encoder and generator."""
    rng, optimizers = np.random.default_rng(seed), _adam(nn.ModuleList([net.generator, net.encoder]), net.discriminator)

    def pairs():
        real, z = x[rng.integers(len(x), size=BATCH)], torch.randn(BATCH, BIGBIGAN.latent)
        mean, raw = net.encoder(2 * real - 1).chunk(2, 1)
        return real, mean + F.softplus(raw) * torch.randn_like(mean), torch.sigmoid(net.generator(z)).view(-1, 1, 28, 28), z

    def scores(images, z):
        f, h = net.discriminator.image(2 * images - 1), net.discriminator.latent(z)
        j, last = net.discriminator.joint(torch.cat([f, h], 1)), net.discriminator.scores
        return [last["x"](f), last["z"](h), last["xz"](j)]

    for step in range(steps):
        real, inferred, fake, z = (t.detach() for t in pairs())
        due = step % BIGBIGAN.penalty_every == 0
        real, inferred = real.requires_grad_(due), inferred.requires_grad_(due)
        of_real, of_fake = scores(real, inferred), scores(fake, z)
        loss = sum(F.relu(1 - a).mean() + F.relu(1 + b).mean() for a, b in zip(of_real, of_fake, strict=True))
        if due:
            slopes = torch.autograd.grad(sum(a.sum() for a in of_real), (real, inferred), create_graph=True)
            loss = loss + BIGBIGAN.penalty_every * BIGBIGAN.gamma / 2 * sum(s.flatten(1).square().sum(1) for s in slopes).mean()
        _step(optimizers[1], loss)
        real, inferred, fake, z = pairs()
        _step(optimizers[0], sum(a.mean() - b.mean() for a, b in zip(scores(real, inferred), scores(fake, z), strict=True)))


def _adam(*modules: nn.Module) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam(m.parameters(), lr=RATE, betas=BETAS) for m in modules]


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def ours(net, data: np.ndarray, steps: int, seed: int) -> None:
    settings = TrainSettings(steps=steps, batch_size=BATCH, lr=RATE, betas=BETAS, autocast=True, channels_last=True)
    train(net, {"train.images": data}, settings, seed, torch.device("cpu"))


@torch.no_grad()
def distance(net, test: Tensor) -> float:
    made = net.raw_sample(2000, torch.Generator().manual_seed(0))
    return frechet_distance(*(F.avg_pool2d(x.contiguous(), 4).flatten(1).numpy() for x in (test, made)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.adversarial", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="30 steps a run instead of 100")
    parser.add_argument("--data", type=Path, help="prepared images of 28 x 28 in place of the enlarged digits")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    steps, known, rng = 30 if options.quick else 100, images(options.data), np.random.default_rng(0)
    test = image_tensor(known["test.images"][:2000])
    chosen = known["train.images"][:20000]
    if options.data is None:
        chosen = np.stack([np.roll(image, rng.integers(-2, 3, 2), (0, 1)) for _ in range(4) for image in chosen])
    games: dict[str, tuple[Callable, Callable]] = {
        "WGAN-GP": (lambda: gan.Model(WGAN, META), plain_wgan), "BigBiGAN": (lambda: bigbigan.Model(BIGBIGAN, META), plain_bigbigan)}
    print(f"{steps} steps of {BATCH} images of 28 x 28, {THREADS} threads")
    print(f"{'':22}{'images/s':>10}{'wall s':>8}{'CPU s':>8}{'Frechet distance':>18}")
    found, limits = {}, {}
    for name, (fresh, plain) in games.items():

        def run(do: Callable, data, seed: int, fresh=fresh) -> Timed:
            torch.manual_seed(seed)
            net = fresh()
            taken = timed(lambda: do(net, data, steps, seed))
            return Timed(taken.wall, taken.cpu, distance(net, test))

        ours(fresh(), chosen, 5, 0)  # libraries choose their kernels
        pairs = [(run(plain, image_tensor(chosen), i), run(ours, chosen, i)) for i in range(options.pairs)]
        for pair in pairs:
            for side, taken in zip(("plain", "ours"), pair, strict=True):
                print(f"{name + ', ' + side:22}{steps * BATCH / taken.wall:10.0f}{taken.wall:8.2f}{taken.cpu:8.2f}{taken.result:18.3f}")
        spent = [in_convolutions(lambda: plain(fresh(), image_tensor(chosen), steps, 0)),  # noqa: B023  called here
                 in_convolutions(lambda: ours(fresh(), chosen, steps, 0))]  # noqa: B023
        walls = [statistics.median(pair[side].wall for pair in pairs) for side in (0, 1)]
        print(f"{'':22}in convolutions: plain {spent[0]:.2f} of {walls[0]:.2f} s, ours {spent[1]:.2f} of {walls[1]:.2f} s")
        rates = [[steps * BATCH / pair[side].wall for pair in pairs] for side in (0, 1)]
        found[name] = (*rates, *(statistics.mean(pair[side].result for pair in pairs) for side in (0, 1)))
        limits[name] = walls[0] / spent[1]
    line = ()
    for name in ("BigBiGAN", "WGAN-GP"):
        line = (closing_line(f"training {name} on 28 x 28 images: a plain float32 loop, ours in bfloat16, {THREADS} threads", *found[name],
                             "images/s, Frechet distance", line, limit=limits[name]),)
    print(line[0])


if __name__ == "__main__":
    main()
