"""The seed of this run; SOAK_SEED chooses it."""

import os
import random

SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
