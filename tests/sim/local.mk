# The simulator and what it stands on.
check_LIBRARIES += tests/sim/libsim.a
tests_sim_libsim_a_SOURCES = \
	tests/sim/faultdisk.c \
	tests/sim/faultdisk.h \
	tests/sim/memstore.c \
	tests/sim/memstore.h
