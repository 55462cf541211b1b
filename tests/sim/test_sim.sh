#!/bin/sh
# A thousand worlds, a hundred a line; SIM_SEEDS and SIM_JOBS choose others.
exec "$top_builddir/tests/sim/nuage-sim" --seeds "${SIM_SEEDS:-1-1000}" --jobs "${SIM_JOBS:-2}" --tap
