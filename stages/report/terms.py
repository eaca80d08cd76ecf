"""What the columns of a training curve are called and mean: a phase's name, where a family has several, then the term."""

from __future__ import annotations

PHASES = {
    "content": "net of the content's features",
    "d": "discriminator",
    "decoder": "decoder",
    "encoder": "encoder",
    "g": "generator",
    "ge": "generator and encoder",
    "main": "autoencoder",
    "pretrain": "generator, before the game",
    "prior": "prior of the codes",
}
TERMS = {
    "accuracy": ("Accuracy", "share of training examples that are told apart rightly"),
    "accuracy_x": ("Accuracy of the score of x", "real from generated, by the image alone"),
    "accuracy_xz": ("Accuracy of the joint score", "real from generated pairs, by image and latent"),
    "accuracy_z": ("Accuracy of the score of z", "real from generated, by the latent alone"),
    "adversarial": ("Adversarial loss", "of the discriminator's judgement"),
    "alone": ("Loss without the question", "-log p(answer), nats an answer"),
    "commitment": ("Commitment", "squared distance of the encoder's output to its nearest code"),
    "content": ("Content loss", "distance to the original in pixels or features"),
    "cross_entropy": ("Cross-entropy", "nats an example"),
    "cycle": ("Cycle error", "distance of the source to its translation and return"),
    "distance": ("Critic's distance", "its estimate of W1, up to its Lipschitz constant"),
    "distortion": ("Distortion", "-log p(x | z), nats an example"),
    "features": ("Error of features", "relative to their size"),
    "given": ("Loss given the question", "-log p(answer | question), nats an answer"),
    "gradient_norm": ("Gradient norm", "of all parameters of this phase, before clipping"),
    "head": ("Loss of the head", "-log Q of the code or class, nats"),
    "identity": ("Identity error", "change to images that are in the target domain already"),
    "interpolates": ("Gradient penalty", "weighted, between real and generated examples"),
    "kl": ("Rate", "KL of the code from its prior, nats an example"),
    "l1": ("L1 distance", "to the true translation"),
    "loss": ("Loss", "what the optimiser lowers"),
    "mrr": ("Mean reciprocal rank", ""),
    "mse": ("Mean squared error", ""),
    "nll": ("Negative log-likelihood", "nats an example"),
    "r1": ("R1 penalty", "weighted, of the slope at real examples"),
    "source": ("Loss in the source domain", ""),
    "target": ("Loss in the target domain", ""),
    "temperature": ("Temperature", "of the relaxed codes"),
    "word_loss": ("Loss a word", "nats"),
}


def title(column: str) -> tuple[str, str]:
    """(title, meaning) of a column of a curve: ("Gradient norm, discriminator", ...) of `d_gradient_norm`; the column itself if unknown."""
    if column in TERMS:
        return TERMS[column]
    if column.startswith("valid_"):
        name, meaning = title(column.removeprefix("valid_"))
        return f"{name}, validation", meaning
    phase, _, term = column.partition("_")
    if phase in PHASES and term in TERMS:
        name, meaning = TERMS[term]
        return f"{name}, {PHASES[phase]}", meaning
    return column, ""
