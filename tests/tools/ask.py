"""ask.py [QUESTION=ANSWER]... -- COMMAND [ARG]...

Runs the command at a terminal of its own.  When its output there holds a
question, in the order given, the answer is typed.  What it prints goes to
stdout; the status is the command's, or 99 when a question never came.
"""
import os
import pty
import select
import signal
import sys
import time


def main():
    words = sys.argv[1:]
    at = words.index("--")
    expected = [w.split("=", 1) for w in words[:at]]
    command = words[at + 1:]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    seen, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        seen += data
        if expected and expected[0][0].encode() in seen:
            seen = b""
            os.write(fd, expected.pop(0)[1].encode() + b"\n")
    if time.monotonic() >= deadline:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(99 if expected and code == 0 else code)


main()
