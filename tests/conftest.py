"""What every test shares: one thread, so that many tests run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
