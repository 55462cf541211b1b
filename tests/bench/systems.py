"""systems.py - the file systems that the benchmark measures, each behind the same few calls.

absent()     why it cannot be measured here, or None
start(store) a fresh file system whose data the server keeps below `store`
cold()       nothing of it is cached any more, in the kernel or in the client
durable()    returns when all that was done is safe on the server
stop()       ends it; harmless when it is not running

`top` is where the mounted tree is.
"""
import os
import shutil
import signal
import socket
import subprocess
import time


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.01)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def drop_caches(what=3):
    run("sync")
    if os.geteuid() == 0:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write(str(what))


def processes():
    """(pid, arguments) of those that have any."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline") as f:
                yield int(name), f.read().split("\0")
        except OSError:     # it ended
            pass


class Network:
    """Where server and client run: one machine, or the two ends of a wide-area link."""
    host = "127.0.0.1"
    server = client = ()

    def close(self):
        pass


FAST_MBIT = 1000


class Link(Network):
    host = "10.99.0.2"

    def __init__(self, wanlink, delay_ms, mbit):
        names = [f"bench-{end}-{os.getpid()}" for end in "cs"]
        self.names = names
        for name in names:
            run("ip", "netns", "add", name)
        self.client, self.server = [("nsenter", f"--net=/run/netns/{name}") for name in names]
        # As network cards do at such a rate; else the link would take a quarter of two cores from what is measured.
        offload = ["-o"] if mbit >= FAST_MBIT else []
        self.process = subprocess.Popen([wanlink, "-d", str(delay_ms), "-r", str(mbit), *offload, names[0], "10.99.0.1/30",
                                         names[1], "10.99.0.2/30"], stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("wanlink does not start")

    def close(self):
        self.process.terminate()
        self.process.wait()
        for name in self.names:
            run("ip", "netns", "del", name)


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class System:
    name = ""

    def __init__(self, work, network):
        self.work, self.network = os.path.join(work, self.name), network
        self.top = os.path.join(self.work, "mnt")
        self.processes = []
        self.store = None

    def absent(self):
        return None if os.access("/dev/fuse", os.W_OK) else "no /dev/fuse"

    def start(self, store):
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.top)
        self.store = os.path.join(store, self.name)
        shutil.rmtree(self.store, ignore_errors=True)
        os.makedirs(self.store)

    def spawn(self, *command, where=(), **options):
        with open(os.path.join(self.work, "log"), "ab") as log:
            p = subprocess.Popen([*where, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        self.processes.append(p)
        return p

    def wait_for_mount(self, process=None):
        def mounted():
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{self.name} does not mount: {self.last_words()}")
            return os.path.ismount(self.top)
        wait_until(mounted, f"the mount of {self.name}", 60)

    def last_words(self):
        with open(os.path.join(self.work, "log"), errors="replace") as log:
            return log.read()[-500:].strip()

    def wait_for_port(self, port):
        wait_until(lambda: subprocess.run([*self.network.server, "bash", "-c", f"</dev/tcp/{self.network.host}/{port}"],
                                          stderr=subprocess.DEVNULL).returncode == 0, f"the server of {self.name}")

    def cold(self):
        drop_caches()

    def durable(self):
        pass

    def stop(self):
        if os.path.ismount(self.top):
            subprocess.run(["umount", "-l", self.top], check=False)
        for p in reversed(self.processes):
            end(p)
        self.processes = []
        if self.store is not None:
            shutil.rmtree(self.store, ignore_errors=True)


class Floor(System):
    """In memory; what it has is always safe, and dropped pages are read from it again."""
    name = "floorfs"

    def __init__(self, work, network, tool):
        super().__init__(work, network)
        self.tool = tool

    def absent(self):
        return super().absent() or (None if os.access(self.tool, os.X_OK) else "not built")

    def start(self, store):
        super().start(store)
        self.wait_for_mount(self.spawn(self.tool, "-f", self.top))


class Passthrough(System):
    """libfuse's example, over a directory in memory."""
    name = "passthrough_ll"
    source = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c"

    def __init__(self, work, network, memory):
        super().__init__(work, network)
        self.memory = memory
        self.tool = os.path.join(work, "passthrough_ll.tool")
        self.why = None if os.path.exists(self.source) else "no libfuse examples"
        if self.why is None:
            flags = run("pkg-config", "--cflags", "--libs", "fuse3").split()
            built = subprocess.run(["cc", "-O2", "-w", "-I", os.path.dirname(self.source), "-o", self.tool, self.source,
                                    *flags], capture_output=True, text=True, check=False)
            self.why = None if built.returncode == 0 else "libfuse's example does not build"

    def absent(self):
        return super().absent() or self.why

    def start(self, store):
        super().start(self.memory)
        self.wait_for_mount(self.spawn(self.tool, "-f", "-o", f"source={self.store},cache=always,timeout=86400",
                                       self.top))


class Ssh(System):
    """What goes over SSH: a server, keys and configuration of its own, in which the host is called box."""
    ciphers, macs = (), ()
    server_lines = ()

    def __init__(self, work, network):
        super().__init__(work, network)
        self.sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        self.config = os.path.join(self.work, "config")

    def absent(self):
        return super().absent() if self.sshd is not None else "sshd is not installed"

    def start(self, store):
        super().start(store)
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.work}/{key}")
        shutil.copy(f"{self.work}/user.pub", f"{self.work}/authorized")
        port = free_port()
        allowed = [f"{word} {','.join(names)}" for word, names in (("Ciphers", self.ciphers), ("MACs", self.macs)) if names]
        self.write("sshd_config", f"Port {port}", f"ListenAddress {self.network.host}", f"HostKey {self.work}/host",
                   f"AuthorizedKeysFile {self.work}/authorized", "StrictModes no", "UsePAM no",
                   "PasswordAuthentication no", "PermitRootLogin prohibit-password", "PidFile none",
                   "Subsystem sftp internal-sftp", "MaxStartups 100", *allowed)
        self.write("config", "Host box", f"HostName {self.network.host}", f"Port {port}",
                   f"User {run('id', '-un').strip()}", f"IdentityFile {self.work}/user", "IdentitiesOnly yes",
                   f"UserKnownHostsFile {self.work}/known", "GlobalKnownHostsFile none",
                   "StrictHostKeyChecking accept-new", "Compression no", *allowed)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.spawn(self.sshd, "-D", "-e", "-f", f"{self.work}/sshd_config", where=self.network.server)
        self.wait_for_port(port)

    def write(self, name, *lines):
        with open(os.path.join(self.work, name), "w") as f:
            f.write("\n".join(lines) + "\n")


class Sshfs(Ssh):
    """With the faster of two ciphers, unless told which."""
    name = "sshfs"
    ciphers = ("aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com")
    cipher = None

    def absent(self):
        return super().absent() if shutil.which("sshfs") else "sshfs is not installed"

    def start(self, store):
        super().start(store)
        self.mount()

    def mount(self):
        self.client = self.spawn("sshfs", "-f", f"box:{self.store}", self.top, "-F", self.config,
                                 "-o", f"Ciphers={self.cipher or self.ciphers[0]}", where=self.network.client)
        self.wait_for_mount(self.client)

    def cold(self):
        run("fusermount3", "-u", self.top)
        self.client.wait()
        drop_caches()
        self.mount()

    def durable(self):
        # sshfs has written all at each close; the server's disk has not.
        run("sync", "-f", self.store)


class Sftp(Ssh):
    """No file system: it puts and gets, over a connection that is logged in already."""
    name = "sftp"

    def absent(self):
        return "sftp is not installed" if shutil.which("sftp") is None else \
            None if self.sshd is not None else "sshd is not installed"

    def start(self, store):
        super().start(store)
        self.control = ("-F", self.config, "-o", f"ControlPath={self.work}/control")
        self.spawn("ssh", *self.control, "-MN", "box", where=self.network.client)
        wait_until(lambda: os.path.exists(f"{self.work}/control"), f"the connection of {self.name}")

    def batch(self, line):
        self.write("batch", line)
        run(*self.network.client, "sftp", "-q", *self.control, "-b", f"{self.work}/batch", "box")


class Nuage(System):
    name = "nuage"

    def __init__(self, work, network, program, daemon):
        super().__init__(work, network)
        self.program, self.daemon = program, daemon

    def absent(self):
        for path in (self.program, self.daemon):
            if path is None or not os.access(path, os.X_OK):
                return "not built"
        return super().absent()

    def environment(self):
        return {**os.environ, "NUAGE_HOME": f"{self.work}/home"}

    def call(self, *args):
        return run(*self.network.client, self.program, *args, env=self.environment())

    def start(self, store):
        super().start(store)
        os.makedirs(f"{self.work}/home", mode=0o700)
        port = free_port()
        self.spawn(self.daemon, "--data", self.store, "--listen", f"{self.network.host}:{port}",
                   where=self.network.server)
        self.wait_for_port(port)
        # The port is open a moment before the socket through which invite speaks to the daemon.
        wait_until(lambda: os.path.exists(f"{self.store}/admin.sock"), "nuaged's admin socket")
        self.call("join", run(self.daemon, "invite", "--data", self.store).strip())
        self.call("create", "bench")
        self.mount()

    def mount(self):
        self.client = self.spawn(self.program, "mount", "bench", self.top, "-f", where=self.network.client,
                                 env=self.environment())
        self.wait_for_mount(self.client)

    def cold(self):
        self.call("umount", self.top)
        self.client.wait()
        drop_caches()
        self.mount()

    def durable(self):
        self.call("sync", self.top)


class NuageOverSsh(Nuage, Ssh):
    """The far side's nuaged is started by the bridge, and outlives it."""
    name = "nuage-ssh"

    def start(self, store):
        Ssh.start(self, store)
        os.makedirs(f"{self.work}/home", mode=0o700)
        self.mount()

    def environment(self):
        return {**super().environment(), "NUAGE_SSH_CONFIG": self.config}

    def mount(self):
        self.client = self.spawn(self.program, "mount", f"ssh://box{self.store}/store", self.top, "-f", "--create",
                                 "--nuaged", self.daemon, where=self.network.client, env=self.environment())
        self.wait_for_mount(self.client)

    def stop(self):
        if os.path.ismount(self.top):
            subprocess.run(["umount", "-l", self.top], check=False)
            end(self.client)
        for pid, arguments in processes():
            if self.store is not None and arguments[:1] == ["nuaged"] and f"{self.store}/store" in arguments:
                os.kill(pid, signal.SIGTERM)
        super().stop()
