#!/usr/bin/env python3
"""deaffs.py DIR SOURCE - a mount that looks like nuage's, takes each request, and answers none.

Who waits for it cannot even be killed, until this process ends.  It says "ready"
when it is mounted; needs root.
"""
import ctypes
import os
import struct
import sys

INIT, IN_HEADER, OUT_HEADER = 26, 40, 16


def main():
    fd = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(sys.argv[2].encode(), sys.argv[1].encode(), b"fuse.nuage", 0, options) != 0:
        sys.exit(f"deaffs: {os.strerror(ctypes.get_errno())}")
    while request := os.read(fd, 1 << 17):
        _, opcode, unique = struct.unpack_from("=IIQ", request)
        if opcode == INIT:
            # Version, read-ahead, flags, background, congestion, the largest write, granularity of times; and room.
            init = struct.pack("=IIIIHHII", 7, 31, 0, 0, 0, 0, 4096, 1) + bytes(36)
            os.write(fd, struct.pack("=IiQ", OUT_HEADER + len(init), 0, unique) + init)
            print("ready", flush=True)


main()
