# What the integration tests and the benchmark stand on; none of it is installed.
noinst_PROGRAMS += tests/tools/wanlink
tests_tools_wanlink_SOURCES = tests/tools/wanlink.c
