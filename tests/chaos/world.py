"""world.py - a server, two clients, and a link between it and each, all of which can break.

Below `top`: data (the store), backing (the disk that it is on), NAME.home and
NAME.mnt of each client, *.log.  The clients and the server live in network
namespaces of their own, joined by wanlink.  A mount point lies on a file
system that is read-only and empty: who works on while nothing is mounted
leaves nothing there.
"""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

CLIENTS = ("ann", "bob")
PORT = 7000
HOME_MB = 256
KILLED_ENDS_S = 10		# for a machine under load: one that is stuck never ends


class Broken(Exception):
    """The world does not do what it must, whatever the faults."""


def run(*command, timeout=60, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout, **more)


def must(*command, **more):
    done = run(*command, **more)
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}")
    return done.stdout


def wait_for(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end(process, number=signal.SIGKILL, seconds=20):
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", errors="replace") as f:
            return f.read().split("\0")[:-1]
    except OSError:
        return []


def kernel_stacks(pid):
    """Where in the kernel its threads are, those that have ended too."""
    text = [f"process {pid}:"]
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task")):
            with open(f"/proc/{pid}/task/{task}/stat") as stat, open(f"/proc/{pid}/task/{task}/stack") as stack:
                text.append(f"thread {task}, {stat.read().rpartition(')')[2].split()[0]}:\n{stack.read()}")
    except OSError as e:
        text.append(str(e))
    return "\n".join(text)


def is_stopped(pid):
    """All its threads; none, if it is gone."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as f:
                if f.read().rpartition(")")[2].split()[0] not in "TtZX":
                    return False
    except OSError:
        pass
    return True


def resident_mb(pid):
    """What is its own; not the file that LMDB maps."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0


def fill_disk(top, left):
    """Leaves so many bytes on the disk of that directory."""
    with open(f"{top}/filler", "wb") as f:
        st = os.statvfs(top)
        try:
            os.posix_fallocate(f.fileno(), 0, max(1, st.f_bavail * st.f_frsize - left))
        except OSError:
            pass


def empty_disk(top):
    try:
        os.unlink(f"{top}/filler")
    except FileNotFoundError:
        pass


class Link:
    """Between a client's namespace and the server's."""

    def __init__(self, world, number, name):
        self.world, self.name = world, name
        self.namespace = f"nuage-{name[0]}{os.getpid()}"
        self.near, self.far = f"10.99.{number}.1", f"10.99.{number}.2"
        self.fifo = f"{world.top}/{name}.link"
        must("ip", "netns", "add", self.namespace)
        world.namespaces.append(self.namespace)
        os.mkfifo(self.fifo)
        self.log = open(f"{world.top}/{name}.link.log", "a+")
        self.process = world.start([world.tool("wanlink"), "-s", str(number), "-c", self.fifo, "-i", f"wan{number}",
                                    self.namespace, f"{self.near}/30", world.namespace, f"{self.far}/30"], self.log)
        if not wait_for(5, lambda: "ready" in open(self.log.name).read()):
            raise Broken("the link does not come up")
        self.pipe = os.open(self.fifo, os.O_WRONLY)
        self.say("delay 1")

    def say(self, *commands):
        for command in commands:
            os.write(self.pipe, f"{command}\n".encode())


class Server:
    def __init__(self, world):
        self.world = world
        self.data, self.backing = f"{world.top}/data", f"{world.top}/backing"
        self.config = f"{world.top}/nuaged.conf"
        self.process = self.disk = None
        self.full = False
        self.reserve_bytes = 64 << 20
        self.lock = threading.RLock()
        os.mkdir(self.backing)
        os.mkdir(self.data)
        must("mount", "-t", "tmpfs", "-o", f"size={world.options.store_mb}m,mode=700", "tmpfs", self.backing)
        with open(self.config, "w") as f:
            f.write(f"term_ms = {world.options.term_ms}\nskew_ms = {world.options.skew_ms}\nblock_delay_ms = 5000\n"
                    f"reserve_bytes = {self.reserve_bytes}\n")

    def insert_disk(self, forgetful, seed):
        """Either a disk that forgets at a power cut, or the small one itself."""
        if forgetful:
            log = open(f"{self.world.top}/disk.out", "a")
            self.disk = self.world.start([self.world.tool("forgetfs"), "-f", "--keep-some", "--seed", str(seed),
                                          self.backing, self.data], log)
            if not wait_for(10, lambda: os.path.ismount(self.data)):
                raise Broken("the server's disk does not mount")
        else:
            must("mount", "--bind", self.backing, self.data)

    def remove_disk(self):
        if os.path.ismount(self.data) and run("umount", self.data).returncode != 0:
            must("umount", "-l", self.data)
        if self.disk is not None:
            end(self.disk, signal.SIGTERM)
        self.disk = None

    def cut_power(self, seed):
        with open(f"{self.world.top}/disk.out") as out:
            cuts = out.read().count("cut")
        self.process.send_signal(signal.SIGSTOP)	# or it would tell of a disk that fails, as no power cut lets it
        wait_for(1, lambda: is_stopped(self.process.pid))
        self.disk.send_signal(signal.SIGUSR1)
        if not wait_for(20, lambda: open(f"{self.world.top}/disk.out").read().count("cut") > cuts):
            raise Broken("the power of the server's disk is not cut")
        self.kill()
        self.remove_disk()
        self.insert_disk(True, seed)

    def start(self):
        """On a disk that others filled it may have to wait for room; under a sanitizer, for a place for its map."""
        tries = 0
        while True:
            full = self.full
            if self._start():
                return
            tries += 1
            if not full and not (tries < 5 and self.says("Cannot allocate memory")):
                raise Broken(f"the server does not start (status {self.process.poll()})")
            time.sleep(0.5)

    def says(self, text):
        with open(f"{self.world.top}/nuaged.log", errors="replace") as f:
            return text in f.readlines()[-1]

    def _start(self):
        self._forget_socket()
        log = open(f"{self.world.top}/nuaged.log", "a")
        self.process = self.world.start([self.world.nuaged, "--data", self.data, "--config", self.config,
                                         "--listen", f"0.0.0.0:{PORT}"], log, self.world.namespace)
        socket = f"{self.data}/admin.sock"
        return wait_for(30, lambda: self.process.poll() is not None or os.path.exists(socket)) and \
            self.process.poll() is None

    def kill(self):
        end(self.process)
        self.process = None

    def _forget_socket(self):
        """That of a killed one, by which the next would seem to be there."""
        try:
            os.unlink(f"{self.data}/admin.sock")
        except OSError:
            pass

    def stop(self):
        status = end(self.process, signal.SIGTERM)
        self.process = None
        if status != 0:
            raise Broken(f"the server ended with status {status}")

    def fill(self, left):
        self.full = True
        fill_disk(self.backing, left)

    def make_room(self):
        empty_disk(self.backing)
        self.full = False


class Client:
    def __init__(self, world, number):
        self.world, self.number, self.name = world, number, CLIENTS[number]
        self.home, self.mount_point = f"{world.top}/{self.name}.home", f"{world.top}/{self.name}.mnt"
        self.process, self.journals, self.log_read = None, [], 0
        self.stuck = []			# what did not end when it was killed
        self.link = Link(world, number + 1, self.name)
        os.mkdir(self.home)
        os.mkdir(self.mount_point)
        must("mount", "-t", "tmpfs", "-o", f"size={HOME_MB}m,mode=700", "tmpfs", self.home)
        must("mount", "-t", "tmpfs", "-o", "ro,size=4k", "tmpfs", self.mount_point)
        self.environment = dict(os.environ, NUAGE_HOME=self.home)
        self.log = open(f"{world.top}/{self.name}.log", "a")

    def keep_journal(self, number):
        """As it is before it is run, to look into afterwards: the last few."""
        for old in self.journals[:-3]:
            shutil.rmtree(old, ignore_errors=True)
        self.journals = self.journals[-3:] + [f"{self.world.top}/{self.name}.{number}-{time.monotonic():.3f}.journal"]
        if os.path.isdir(f"{self.home}/state"):
            shutil.copytree(f"{self.home}/state", self.journals[-1])

    def run(self, *arguments, timeout=60):
        return run("nsenter", f"--net=/run/netns/{self.link.namespace}", self.world.nuage, *arguments,
                   env=self.environment, timeout=timeout)

    def must(self, *arguments):
        done = self.run(*arguments)
        if done.returncode != 0:
            raise Broken(f"{self.name}: nuage {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def mounted(self):
        """A mount of ours on top of the empty file system."""
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == self.mount_point and " - fuse" in line for line in f)

    def launch(self, *options):
        """Begins to mount; the journal is run first.  Never without the server: the judge knows one order of all."""
        self.process = self.world.start([self.world.nuage, "mount", "vol", self.mount_point, "-f", "-o",
                                         ",".join(("nooffline",) + options)], self.log, self.link.namespace, self.environment)

    def mount(self, *options):
        """False: not now."""
        self.launch(*options)
        wait_for(120, lambda: self.mounted() or self.process.poll() is not None)
        if self.process.poll() is None and not self.mounted():
            raise Broken(f"{self.name} neither mounts nor gives up")
        return self.process.poll() is None

    def guards(self, pid):
        """The processes that look after that one's mount."""
        return [p for p in os.listdir("/proc") if p.isdigit() and
                command_line(p) == ["nuage-guard", self.mount_point, str(pid)]]

    def kill(self):
        """It must end by that, whatever its threads wait for in the kernel, and its guard after it."""
        if self.process is not None:
            pid = self.process.pid
            self.process.kill()
            try:
                self.process.wait(KILLED_ENDS_S)
            except subprocess.TimeoutExpired:
                with open(f"{self.world.top}/stuck.log", "a") as f, open("/proc/loadavg") as load:
                    f.write(f"load {load.read()}" + "\n".join(kernel_stacks(p) for p in [pid] + self.guards(pid)) + "\n")
                self.stuck.append(f"{self.name}, process {pid}, was killed and did not end before umount -f")
                run("umount", "-f", self.mount_point)
                self.process.wait(20)
            if not wait_for(KILLED_ENDS_S, lambda: not self.guards(pid)):
                self.stuck.append(f"{self.name}, process {pid}, has ended and its guard did not")
        self.process = None
        while self.mounted():
            must("umount", "-l", self.mount_point)

    def unmount(self):
        """False: not now."""
        done = self.run("umount", self.mount_point, timeout=120)
        if done.returncode != 0:
            return False
        self.process.wait(30)
        self.process = None
        return True

    def volumes(self, tries=3):
        """ThreadSanitizer flushes the streams of a forked child, so that under it some text may come twice."""
        try:
            done = self.run("status", "--json", timeout=10)
            return json.loads(done.stdout or "[]")
        except subprocess.TimeoutExpired:
            return []
        except ValueError:
            if tries > 1:
                return self.volumes(tries - 1)
            raise Broken(f"status {done.returncode} of nuage status --json: {done.stdout!r} {done.stderr!r}") from None

    def status(self):
        """Of the mount; None: it does not answer."""
        return next((v for v in self.volumes() if "dirty_bytes" in v), None)

    def redone(self):
        """Has it done again, since it was asked last, what it had lost with its leases?"""
        with open(self.log.name, errors="replace") as f:
            f.seek(self.log_read)
            text = f.read()
            self.log_read = f.tell()
        return "lost with their leases were done again" in text

    def conflicts(self):
        status = self.status()
        return status["conflicts"] if status is not None else []

    def sync(self):
        return self.run("sync", self.mount_point, timeout=120).returncode == 0


class World:
    def __init__(self, options):
        self.options, self.top = options, options.top
        self.nuage, self.nuaged = f"{options.build}/nuage", f"{options.build}/nuaged"
        self.processes, self.namespaces = [], []
        self.server, self.clients = None, []
        self.ended = False

    def tool(self, name):
        return f"{self.options.build}/tests/tools/{name}"

    def start(self, command, log, namespace=None, environment=None):
        if self.ended:
            raise Broken("the end has begun")
        if namespace is not None:
            command = ["nsenter", f"--net=/run/netns/{namespace}"] + command
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.processes = [p for p in self.processes if p.poll() is None] + [process]
        return process

    def set_up(self):
        self.namespace = f"nuage-s{os.getpid()}"
        must("ip", "netns", "add", self.namespace)
        self.namespaces.append(self.namespace)
        self.server = Server(self)
        self.clients = [Client(self, i) for i in range(len(CLIENTS))]
        self.server.insert_disk(False, 0)
        self.server.start()
        ann, bob = self.clients
        ann.must("join", must(self.nuaged, "invite", "--data", self.server.data, "--address",
                              f"{ann.link.far}:{PORT}").strip())
        ann.must("create", "vol")
        bob.must("join", ann.must("invite", "--address", f"{bob.link.far}:{PORT}", "vol").strip())
        self.server.stop()
        self.server.remove_disk()

    def tear_down(self):
        """While threads of faults may be at work, as when the runner is told to end."""
        self.ended = True
        for client in self.clients:
            if client.process is not None and client.process.poll() is None:
                client.process.send_signal(signal.SIGCONT)
            client.kill()
            run("umount", "-l", client.mount_point)
            run("umount", "-l", client.home)
        for process in self.processes:
            end(process)
        if self.server is not None:
            for where in (self.server.data, self.server.backing):
                run("umount", "-l", where)
        for namespace in self.namespaces:
            run("ip", "netns", "del", namespace)

    def keep_logs(self, where):
        os.makedirs(where, exist_ok=True)
        for name in os.listdir(self.top):
            if name.endswith((".log", ".events", ".out")):
                shutil.copy(f"{self.top}/{name}", where)
        for client in self.clients:
            client.keep_journal("last")
        for journal in (j for c in self.clients for j in c.journals if os.path.isdir(j)):
            shutil.copytree(journal, f"{where}/{os.path.basename(journal)}")
