"""The stages of dvc.yaml, one package each."""

import os

# One thread of linear algebra a process unless the caller says otherwise: sums come out the same on every number of cores and jobs.
# (Training sets its own threads from its settings.) Here, because libraries read these once, when they are first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
