#!/bin/sh
# Worlds whose server has little space: what it promised must do, and removing must go.
exec "$top_builddir/tests/sim/nuage-sim" --tight --seeds "${SIM_SEEDS:-1-400}" --jobs "${SIM_JOBS:-2}" --tap
