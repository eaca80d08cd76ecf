"""A simulated shop whose structure is known: departments > categories > items, complements, brands, favourites, cold items.

A receipt is filled pair by pair. An anchor category is drawn from what its customer likes, an item from it; with probability
`complement` an item of the category's complement follows. Within a category an item's weight is rank^-zipf, times `cold_weight`
for a cold item, times `brand_affinity` for the customer's brand; with probability `favourites` the customer takes the one
favourite of that category instead. With probability `noise` an item is replaced by any item of the shop, all alike.
With `own_metadata` below 1 the metadata of the other items are dealt out among them; what is bought stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from stages.ingest.raw import Raw
from stages.settings import field


@dataclass(frozen=True)
class ShopOptions:
    departments: int = field(8, low=1)
    categories: int = field(5, low=1, doc="categories a department")
    items: int = field(20, low=1, doc="items a category")
    receipts: int = field(4000, low=1)
    complement: float = field(0.65, low=0, high=1, doc="chance that an item brings one of the complement category")
    noise: float = field(0.1, low=0, high=1, doc="chance that an item is replaced by any other")
    cold_share: float = field(0.5, low=0, high=1, doc="share of each category's items that are cold")
    cold_weight: float = field(0.05, above=0, doc="weight of a cold item against a warm one")
    zipf: float = field(0.5, low=0, doc="exponent of the popularity of items within a category")
    brands: int = field(12, low=1)
    brand_affinity: float = field(3.0, above=0, doc="weight of the customer's brand against others")
    customers: int = field(400, low=1)
    favourites: float = field(0.3, low=0, high=1, doc="chance of taking the favourite of the category")
    length: float = field(6.0, low=2, doc="mean number of draws for a receipt (two at least)")
    own_metadata: float = field(1.0, low=0, high=1, doc="share of the items whose category, brand and department are their own")
    seed: int = 0


def simulated_shop(options: ShopOptions) -> Raw:
    rng = np.random.default_rng(options.seed)
    o, k = options, options.departments * options.categories
    complement = _complements(rng, k)
    brand = rng.integers(o.brands, size=(k, o.items))
    weight = np.stack([rng.permutation(np.arange(1, o.items + 1) ** -o.zipf) for _ in range(k)])
    cold = np.zeros((k, o.items), bool)
    for row in cold:
        row[rng.choice(o.items, round(o.cold_share * o.items), replace=False)] = True
    weight = np.where(cold, weight * o.cold_weight, weight)

    customer_brand = rng.integers(o.brands, size=o.customers)
    liked = rng.dirichlet(np.full(o.departments, 0.5), size=o.customers)  # few departments carry most of a customer's receipts
    category_share = np.repeat(liked, o.categories, axis=1) / o.categories
    # cumulative item weights by brand preferred and category: [brands, k, items]
    affine = weight[None] * np.where(brand[None] == np.arange(o.brands)[:, None, None], o.brand_affinity, 1.0)
    item_steps = np.cumsum(affine / affine.sum(-1, keepdims=True), -1)
    category_steps = np.cumsum(category_share, 1)
    favourite = np.array([[_draw(item_steps[b, c], u) for c, u in enumerate(row)]
                          for b, row in zip(customer_brand, rng.random((o.customers, k)), strict=True)])

    rows = []
    days = np.sort(rng.random(o.receipts)) * 365
    for number in range(o.receipts):
        who = int(rng.integers(o.customers))
        items: dict[int, int] = {}
        for category in _categories(rng, o, category_steps[who], complement):
            take, u, other, any_item = rng.random(4)
            item = favourite[who, category] if take < o.favourites else _draw(item_steps[customer_brand[who], category], u)
            key = int(any_item * k * o.items) if other < o.noise else int(category * o.items + item)
            items[key] = items.get(key, 0) + 1
        moment = datetime(2024, 1, 1) + timedelta(seconds=int(days[number] * 86400))
        rows += [(f"r{number:06d}", position, key, float(count), moment) for position, (key, count) in enumerate(items.items())]

    catalogue = _dealt(_catalogue(o, brand), o)
    table = pl.DataFrame(rows, schema=["receipt_id", "position", "key", "quantity", "timestamp"], orient="row")
    receipts = table.join(catalogue, on="key", how="left", maintain_order="left")
    names = catalogue["item_id"].to_list()
    labels = [f"category {c:02d}" for c in range(k)]
    truth = {
        "complements": {labels[c]: labels[int(complement[c])] for c in range(k)},
        "cold_items": [names[i] for i in np.flatnonzero(cold.ravel())],
        "item_weight": {names[i]: float(w) for i, w in enumerate(weight.ravel())},
        "customers": {"brand": [f"brand {b:02d}" for b in customer_brand], "departments": liked},
        "favourites": [[names[c * o.items + i] for c, i in enumerate(row)] for row in favourite[:20]],
        "favourites_note": "of the first 20 customers, one a category",
    }
    return Raw("receipts", {"receipts": receipts, "items": catalogue}, licence="simulated, no rights reserved",
               fields=("category", "brand", "department"), truth=truth)


def _complements(rng, k):
    """A symmetric pairing of categories: complement[complement[c]] == c; with an odd number the last is its own."""
    order = rng.permutation(k)
    complement = np.arange(k)
    for a, b in zip(order[0::2], order[1::2], strict=False):
        complement[a], complement[b] = b, a
    return complement


def _categories(rng, o, steps, complement):
    """The categories of one receipt, anchor by anchor, each followed by its complement with probability `o.complement`."""
    wanted = 2 + int(rng.poisson(o.length - 2))
    chosen = []
    while len(chosen) < wanted:
        anchor = _draw(steps, rng.random())
        chosen.append(anchor)
        if rng.random() < o.complement:
            chosen.append(int(complement[anchor]))
    return chosen[:wanted]


def _draw(steps, u) -> int:
    return min(int(np.searchsorted(steps, u, side="right")), len(steps) - 1)


def _catalogue(o, brand) -> pl.DataFrame:
    k = o.departments * o.categories
    keys = np.arange(k * o.items)
    category = keys // o.items
    return pl.DataFrame({
        "key": keys,
        "item_id": [f"i{i:05d}" for i in keys],
        "item": [f"item {i % o.items:02d} of category {c:02d}" for i, c in zip(keys, category, strict=True)],
        "category": [f"category {c:02d}" for c in category],
        "brand": [f"brand {b:02d}" for b in brand.ravel()],
        "department": [f"department {c // o.categories}" for c in category],
    })


def _dealt(catalogue: pl.DataFrame, o) -> pl.DataFrame:
    """The catalogue with the metadata of all but a share `own_metadata` of the items permuted among them; drawn apart from receipts."""
    if o.own_metadata == 1:
        return catalogue
    rng, rows = np.random.default_rng([o.seed, 1]), np.arange(len(catalogue))
    others = rng.permutation(len(rows))[round(o.own_metadata * len(rows)) :]
    rows[others] = rng.permutation(others)
    fields = ["category", "brand", "department"]
    return catalogue.with_columns(catalogue[fields][rows.tolist()])
