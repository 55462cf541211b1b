"""round.py - one round: a directory, workers on both mounts, faults; then calm, and all is looked at.

In the end everything is mended and the workers come to rest.  Then both
mounts must show the same; after an orderly unmount `nuaged check` must find
nothing, and both mounts, with nothing cached, must show the same again.
"""
import ctypes
import hashlib
import os
import signal
import stat
import threading
import time

from board import DONE, DOUBT, FAILED, RUN, STOP, Board
from faults import ClientFaults, Troubles, all_faults
from judge import ABSENT, Case
from shared import CELLS, NAMES, SharedWorker, name_of, prepare, records_in, size_of
from tree import TreeWorker
from watch import Watch
from worker import read_all
from world import run, wait_for

PR_SET_PDEATHSIG = 1
TREE_WORKERS, SHARED_WORKERS = 2, 2		# on each mount


def digest(top):
    """Path to what is to be seen of it, of a whole mount."""
    found, todo = {}, [""]
    while todo:
        directory = todo.pop()
        for name in os.listdir(top + directory):
            path = f"{directory}/{name}"
            st = os.lstat(top + path)
            seen = [oct(st.st_mode), st.st_nlink, st.st_mtime_ns]
            if stat.S_ISDIR(st.st_mode):
                todo.append(path)
            elif stat.S_ISLNK(st.st_mode):
                seen.append(os.readlink(top + path))
            else:
                content = read_all(top + path)
                seen += [st.st_size, hashlib.sha256(content).hexdigest()[:16],
                         sorted((k, os.getxattr(top + path, k)) for k in os.listxattr(top + path))]
            found[path] = seen
    return found


class Round:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.seed = f"{world.options.seed}/{number}"
        self.forgetful = (number % 2 == 0) != world.options.disk_first
        self.name = f"round{number}"
        self.over = threading.Event()		# no more faults
        self.broken = threading.Event()		# nothing more is to be expected of it
        self.troubles = Troubles()
        self.floats, self.unmounts, self.violations = [], [], []
        self.on_old = set()			# clients that were used while their journals waited
        self.wanted = RUN
        self.lock = threading.Lock()
        self.log = open(f"{world.top}/faults.log", "a")
        self.operations = self.conflicts = self.unlisted = 0

    def note(self, text):
        with self.lock:
            print(f"{time.monotonic():.6f} round {self.number}: {text}", file=self.log, flush=True)

    def violation(self, text):
        with self.lock:
            if text not in self.violations:
                self.violations.append(text)
                print(f"{time.monotonic():.6f} round {self.number}: VIOLATION {text}", file=self.log, flush=True)
        self.over.set()

    # ---- beginning ----

    def begin(self):
        world = self.world
        world.server.insert_disk(self.forgetful, self.number)
        world.server.start()
        for client in world.clients:
            if not client.mount("commit=2"):
                raise RuntimeError(f"{client.name} cannot mount")
        top = f"{world.clients[0].mount_point}/{self.name}"
        os.mkdir(top)
        prepare(top, [f"{c}{w}" for c in range(2) for w in range(SHARED_WORKERS)])
        jobs = []
        for client in range(2):
            jobs += [(client, f"tree{client}{w}", None) for w in range(TREE_WORKERS)]
            jobs += [(client, None, f"{client}{w}") for w in range(SHARED_WORKERS)]
        for _, private, _ in jobs:
            if private is not None:
                os.mkdir(f"{top}/{private}")
        for client in world.clients:
            if not client.sync():
                raise RuntimeError(f"{client.name} cannot sync")
        self.board = Board(len(jobs))
        self.workers_of = [[i for i, j in enumerate(jobs) if j[0] == c] for c in range(2)]
        self.event_files = [f"{world.top}/worker{i}.events" for i in range(len(jobs))]
        self.pids = [self.fork(i, *job) for i, job in enumerate(jobs)]
        self.client_faults = [ClientFaults(self, c, world.options.gap_s * 1.5) for c in world.clients]
        self.watch = Watch(self)
        self.threads = all_faults(self) + self.client_faults

    def fork(self, slot, client, private, shared):
        pid = os.fork()
        if pid != 0:
            return pid
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)		# however the runner ends
        top = f"{self.world.clients[client].mount_point}/{self.name}"
        events = open(self.event_files[slot], "w", buffering=1 << 16)
        common = (self.board, slot, client, f"{top}/{private}" if private else top, f"{self.seed}/{slot}", events,
                  not self.forgetful)
        (TreeWorker(*common) if private else SharedWorker(shared, *common)).run()

    def go(self, seconds):
        self.watch.start()
        for thread in self.threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in self.threads:
            thread.join(300)
            if thread.is_alive():
                self.violation(f"{thread.name} does not come to its end")
                self.broken.set()

    # ---- ending ----

    def rest(self):
        """All is mended; the workers look at everything once more and end."""
        self.wanted = STOP
        for c in self.client_faults:
            c.release()
        while not self.broken.is_set():
            for c in self.client_faults:
                c.attend()
            states = [self.board.state(w) for w in range(self.board.workers)]
            if all(s in (DONE, FAILED) for s in states) or (self.violations and DOUBT in states):
                break
            time.sleep(0.05)
        for c in self.client_faults:
            if not self.broken.is_set():
                c.attend()
        self.operations = sum(self.board.operations(w) for w in range(self.board.workers))

    def end_workers(self):
        if self.broken.is_set():
            for client in self.world.clients:
                client.kill()		# or who waits for it would not end
        for pid in self.pids:
            try:
                if self.violations:
                    os.kill(pid, 9)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass

    def sync(self):
        for c in self.client_faults:
            for attempt in range(20):
                if c.client.sync():
                    break
                time.sleep(0.5)
            else:
                self.violation(f"{c.name} cannot bring everything to the server: {c.client.status()}")
            c.look()

    def look_at_all(self, case):
        """From both sides; what the judge wants to know of the end."""
        digests = []
        for client in self.world.clients:
            top = f"{client.mount_point}/{self.name}"
            for key in list(case.keys):
                began = time.monotonic()
                try:
                    content = read_all(f"{top}/{key}")
                except FileNotFoundError:
                    content = None
                if key[0] == "l":
                    names, strange = records_in(content or b"")
                    value = " ".join(names) + "".join(f" ?{s.hex()}" for s in strange)
                else:
                    value = ABSENT if content is None else name_of(content) or f"?{content[:60].hex()}"
                case.read_events(["\t".join(("l" if key[0] == "l" else "r", key, str(client.number), f"{began:.6f}",
                                             f"{time.monotonic():.6f}", value))])
            digests.append(digest(client.mount_point))
        self.differ("both mounts", *digests)
        return digests[0]

    def differ(self, text, one, other):
        lines = [f"{p}: {one.get(p)} and {other.get(p)}" for p in sorted(set(one) | set(other)) if one.get(p) != other.get(p)]
        if lines:
            self.violation(f"DIFFERENT: {text}: {len(lines)} paths: " + "; ".join(lines[:6]))

    def look_for_copies(self, found):
        """Records and values in conflict copies; they are listed by nuage status."""
        client = self.world.clients[0]
        copies = [p for p in found if "(conflict " in p.rpartition("/")[2]]
        listed = {path for c in self.world.clients for path in c.conflicts()}
        known, shared = set(), []
        for path in copies:
            content = read_all(client.mount_point + path) if stat.S_ISREG(int(found[path][0], 8)) else b""
            names, _ = records_in(content)
            values = set(names) | {name_of(content)}
            known |= values
            shared.append((path, path.rpartition("/")[2].partition(" (conflict")[0], values))
            owner = path.removeprefix(f"/{self.name}/tree")[0]
            if owner.isdigit() and int(owner) not in self.on_old:
                self.violation(f"SPURIOUS CONFLICT: {path}")
        unlisted = [p for p in copies if p not in listed]
        self.conflicts = len(copies)
        if unlisted:
            self.violation(f"NOT LISTED: {len(unlisted)} conflict copies: {unlisted[:5]}")
        return known, shared

    def token_places(self, found, in_copies):
        """Of a file that another moved while its journal waited the content is in a copy, and it itself is empty."""
        places, hollow, client = {}, [], self.world.clients[0]
        for path in found:
            directory, _, name = path.rpartition("/")
            here = directory == f"/{self.name}" and name.startswith("slot") or \
                directory.startswith(f"/{self.name}/of-") and name != "new"
            if here and "(conflict " not in name and stat.S_ISREG(int(found[path][0], 8)):
                token = name_of(read_all(client.mount_point + path))
                if token is not None:
                    places.setdefault(token, []).append(path)
                elif name.startswith("slot"):
                    hollow.append((path, found[path][3]))
        apart = [t for t in in_copies if t is not None and t not in places]
        if len(hollow) > len(apart) or any(size > 0 for _, size in hollow):
            self.violation(f"DAMAGED: the tokens in {hollow}, of which {apart} may be in copies")
        return places

    def read_case(self):
        case = Case()
        for n in range(CELLS):
            case.begin_with(f"c{n}", "0.0")
        for n in range(NAMES):
            case.begin_with(f"n{n}", ABSENT)
        for path in self.event_files:
            with open(path) as f:
                case.read_events(line for line in f if line[0] in "wmabrzplskd")
        for client, k, m in self.floats:
            case.floats[client].append((k, m))
        case.on_old = self.on_old
        for client, when in self.unmounts:
            case.unmounts[client].append(when)
        return case

    def close(self, expected):
        """Down with everything, `nuaged check`, and up again."""
        world = self.world
        for client in world.clients:
            if not wait_for(60, client.unmount):
                raise RuntimeError(f"{client.name} cannot be unmounted: {client.status()}")
        world.server.stop()
        world.server.remove_disk()
        check = run(world.nuaged, "check", "--data", world.server.backing, timeout=300)
        if check.returncode != 0:
            self.violation(f"nuaged check: {check.stdout[-1500:]}{check.stderr[-500:]}")
        world.server.insert_disk(False, 0)
        world.server.start()
        digests = []
        for client in world.clients:
            if not client.mount("commit=2"):
                raise RuntimeError(f"{client.name} cannot mount")
            digests.append(digest(client.mount_point))
        for client, seen in zip(world.clients, digests):
            self.differ(f"before the unmount, and {client.name} after it", expected, seen)
        run("rm", "-rf", f"{world.clients[self.number % 2].mount_point}/{self.name}", timeout=120)
        for client in world.clients:
            if not wait_for(60, client.unmount):
                raise RuntimeError(f"{client.name} cannot be unmounted: {client.status()}")
        world.server.stop()
        world.server.remove_disk()

    def finish(self):
        self.rest()
        self.end_workers()
        if self.violations or self.broken.is_set():
            return
        self.watch.ended.set()
        self.watch.join()
        self.sync()
        case = self.read_case()
        found = self.look_at_all(case)
        in_copies, copies = self.look_for_copies(found)
        places = self.token_places(found, in_copies)
        for violation in case.judge(places, in_copies, size_of, copies):
            self.violation(violation)
        if not self.violations:
            self.close(found)
