# What the integration tests and the benchmark stand on; none of it is installed.
noinst_PROGRAMS += tests/tools/wanlink
tests_tools_wanlink_SOURCES = tests/tools/wanlink.c
TESTS += tests/tools/test_wanlink.sh
EXTRA_DIST += tests/tools/test_wanlink.sh

noinst_PROGRAMS += tests/tools/floorfs
tests_tools_floorfs_SOURCES = tests/tools/floorfs.c
tests_tools_floorfs_LDADD = $(FUSE_LIBS)

noinst_PROGRAMS += tests/tools/forgetfs
tests_tools_forgetfs_SOURCES = tests/tools/forgetfs.c tests/tools/disk.c tests/tools/disk.h
tests_tools_forgetfs_LDADD = $(FUSE_LIBS)
TESTS += tests/tools/test_forgetfs.sh
EXTRA_DIST += tests/tools/test_forgetfs.sh tests/tools/deaffs.py

# nuage with delays (fs/delay.h): those files once more, and all else as it is.
noinst_PROGRAMS += tests/tools/nuage-delay
tests_tools_nuage_delay_SOURCES = fs/delay.c fs/delay.h fs/answer.c fs/lanes.c fs/mount.c fs/notifier.c fs/request.c
if SSH
tests_tools_nuage_delay_SOURCES += fs/ssh_pump.c
endif
tests_tools_nuage_delay_CPPFLAGS = $(AM_CPPFLAGS) -DNUAGE_DELAYS
tests_tools_nuage_delay_LDADD = $(nuage_OBJECTS) $(nuage_LDADD)

EXTRA_DIST += tests/tools/ask.py tests/tools/call.py tests/tools/mktree.py
