"""The same flow on other machines: `python -m pipelines.repro --runner dask://HOST:PORT`.

Here DVC decides what is stale and `pipelines.schedule` what starts when, as without a cluster; a worker is given one stage at a time.
  workers.py     addresses of clusters, and what all kinds of them can do
  dask.py ray.py those there are
  snapshot.py    the workspace as one commit, in a bundle
  storage.py     the DVC remote through which data goes
  bootstrap.py   what a worker is sent: it lays out the snapshot and starts hand.py there
  hand.py        on the worker: pull what the stage reads, run it, push what it wrote
  coordinator.py here: which worker, what it needs, what comes back
"""
