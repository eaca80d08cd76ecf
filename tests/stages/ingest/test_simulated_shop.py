import numpy as np
import polars as pl
import pytest

from stages.ingest.simulated_shop import ShopOptions, simulated_shop


@pytest.fixture(scope="module")
def shop():
    return simulated_shop(ShopOptions(receipts=1500))


def pairs(raw):
    """Neighbouring items of a receipt, with their categories."""
    lines = raw.tables["receipts"].sort("receipt_id", "position")
    following = lines.with_columns(pl.all().shift(-1).name.suffix("_next"))
    return following.filter(pl.col("receipt_id") == pl.col("receipt_id_next"))


def test_catalogue_is_departments_times_categories_times_items(shop):
    items = shop.tables["items"]
    assert items.height == 8 * 5 * 20
    assert items["category"].n_unique() == 40 and items["department"].n_unique() == 8
    assert items.group_by("category").agg(pl.col("department").n_unique()).get_column("department").max() == 1


def test_complements_pair_up_and_follow_each_other(shop):
    complement = shop.truth["complements"]
    assert all(complement[complement[c]] == c != complement[c] for c in complement)
    near = pairs(shop)
    share = (near["category"].replace(complement) == near["category_next"]).mean()
    without = pairs(simulated_shop(ShopOptions(receipts=1500, complement=0.0)))
    assert share > 0.3 > 0.1 > (without["category"].replace(complement) == without["category_next"]).mean()


def test_cold_items_are_half_and_rare(shop):
    cold = set(shop.truth["cold_items"])
    assert len(cold) == 400
    bought = shop.tables["receipts"]["item_id"].is_in(list(cold)).mean()
    assert 0.02 < bought < 0.25


def test_noise_alone_makes_all_items_alike():
    raw = simulated_shop(ShopOptions(noise=1.0, receipts=3000, departments=2, categories=2, items=5))
    counts = raw.tables["receipts"]["item_id"].value_counts()["count"].to_numpy()
    assert len(counts) == 20 and counts.std() / counts.mean() < 0.1


def test_customers_prefer_their_brand_and_favourites():
    plain = ShopOptions(receipts=2000, brand_affinity=1.0, favourites=0.0, customers=5)
    loyal = ShopOptions(receipts=2000, brand_affinity=1.0, favourites=1.0, noise=0.0, customers=5)
    distinct = [simulated_shop(o).tables["receipts"]["item_id"].n_unique() for o in (plain, loyal)]
    assert distinct[1] <= 5 * 40 < distinct[0]
    brands = [simulated_shop(ShopOptions(receipts=2000, customers=1, brand_affinity=a, favourites=0.0)) for a in (1.0, 20.0)]
    wanted = brands[0].truth["customers"]["brand"][0]
    shares = [(b.tables["receipts"]["brand"] == wanted).mean() for b in brands]
    assert shares[1] > 2 * shares[0]


def test_an_item_stands_once_in_a_receipt_and_positions_count_up(shop):
    lines = shop.tables["receipts"]
    assert not lines.select("receipt_id", "item_id").is_duplicated().any()
    first = lines.filter(pl.col("receipt_id") == "r000007")["position"].to_list()
    assert first == list(range(len(first)))
    assert lines["timestamp"].is_sorted()


def test_another_seed_is_another_shop():
    a, b = (simulated_shop(ShopOptions(receipts=50, seed=s)).tables["receipts"] for s in (0, 1))
    assert not a.equals(b)
    assert np.isfinite(a["quantity"].to_numpy()).all()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_metadata_are_dealt_out_and_nothing_else_changes(shop, share):
    dealt = simulated_shop(ShopOptions(receipts=1500, own_metadata=share))
    fields = ["category", "brand", "department"]
    assert dealt.tables["receipts"].drop(fields).equals(shop.tables["receipts"].drop(fields))
    before, after = (raw.tables["items"].select("item_id", *fields) for raw in (shop, dealt))
    assert after["item_id"].equals(before["item_id"])
    assert after.drop("item_id").sort(fields).equals(before.drop("item_id").sort(fields))  # dealt out, none made up
    same = (after["category"] == before["category"]).mean()
    assert same == pytest.approx(share + (1 - share) / 40, abs=0.02)
    assert (after.group_by("category").agg(pl.col("department").n_unique())["department"] == 1).all()  # of an item all three move together
