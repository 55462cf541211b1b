"""faults.py - what befalls the server, each client and each link, each in a thread of its own, by its own seed.

Faults of different things overlap as chance has it; those of one thing do
not.  Who breaks something mends it before its thread ends.
"""
import random
import signal
import threading
import time
from collections import Counter

from board import DONE, DOUBT, FAILED, PAUSE, PAUSED, RUN
from world import empty_disk, fill_disk

POLL_S = 0.05
DOUBT_S = 1.5
GATE_S = 8			# less than what a call waits for the redoing of what its file lost
REDONE_S = 20			# after work was done again that was lost with its leases, calls may still be told so


class Troubles:
    """What is broken just now, and since when nothing is."""

    def __init__(self):
        self.lock = threading.Lock()
        self.active = Counter()
        self.counts = Counter()
        self.calm_since = time.monotonic()

    def begin(self, who, kind):
        with self.lock:
            self.active[who] += 1
            self.counts[kind] += 1

    def over(self, who):
        with self.lock:
            self.active[who] -= 1
            self.calm_since = time.monotonic()

    def count(self, kind):
        with self.lock:
            self.counts[kind] += 1

    def any(self):
        with self.lock:
            return any(n > 0 for n in self.active.values())

    def of(self, who):
        with self.lock:
            return self.active[who] > 0


class Trouble:
    """with Trouble(...): one fault, from its beginning to its mending."""

    def __init__(self, round, who, kind):
        self.round, self.who, self.kind = round, who, kind

    def __enter__(self):
        self.round.troubles.begin(self.who, self.kind)
        self.round.note(f"{self.who}: {self.kind}")

    def __exit__(self, *exception):
        self.round.troubles.over(self.who)
        self.round.note(f"{self.who}: {self.kind} is over")


class Faults(threading.Thread):
    """Subclasses have `kinds`, a weight for each method."""

    def __init__(self, round, name, gap_s):
        super().__init__(name=name, daemon=True)
        self.round, self.world = round, round.world
        self.gap_s = gap_s
        self.rng = random.Random(f"{round.seed}/{name}")
        only = self.world.options.faults
        self.kinds = {k: w for k, w in self.kinds.items() if not only or k in only}

    def run(self):
        try:
            while self.pause(self.rng.expovariate(1 / self.gap_s)):
                if self.kinds:
                    kind = self.rng.choices(list(self.kinds), self.kinds.values())[0]
                    getattr(self, kind)()
        except Exception as e:
            self.round.violation(f"{self.name}: {type(e).__name__}: {e}")

    def pause(self, seconds):
        """False: the round is over."""
        deadline = time.monotonic() + seconds
        while not self.round.over.is_set():
            self.attend()
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(POLL_S, left))
        return False

    def attend(self):
        pass

    def beyond_term(self):
        o = self.world.options
        return (o.term_ms + o.skew_ms) / 1000 + self.rng.uniform(0.5, 3)


class ServerFaults(Faults):
    kinds = {"server_kill": 6, "server_restart": 2, "server_away": 1, "power_cut": 4}

    def __init__(self, round, gap_s):
        super().__init__(round, "server", gap_s)
        if not round.forgetful:
            self.kinds.pop("power_cut", None)

    def _down(self, kind, how, seconds):
        server = self.world.server
        with server.lock, Trouble(self.round, self.name, kind):
            how()
            time.sleep(seconds)
            server.start()

    def server_kill(self):
        self._down("server_kill", self.world.server.kill, self.rng.uniform(0, 1.5))

    def server_restart(self):
        self._down("server_restart", self.world.server.stop, self.rng.uniform(0, 1))

    def server_away(self):
        self._down("server_away", self.world.server.kill, self.beyond_term())

    def power_cut(self):
        self._down("power_cut", lambda: self.world.server.cut_power(self.rng.randrange(1 << 30)), self.rng.uniform(0, 1))


class DiskFaults(Faults):
    kinds = {"disk_full": 4, "disk_stuffed": 1}

    def __init__(self, round, gap_s):
        super().__init__(round, "disk", gap_s)

    def disk_full(self):
        """What is left is in the server's reserve: new data is refused, frees are not."""
        with Trouble(self.round, self.name, "disk_full"):
            self.world.server.fill(int(self.world.server.reserve_bytes * self.rng.uniform(0.5, 1)))
            time.sleep(self.rng.uniform(0.5, 5))
            self.world.server.make_room()

    def disk_stuffed(self):
        """Others take the reserve too: the server may end then, and cannot start before there is room."""
        server = self.world.server
        with server.lock, Trouble(self.round, "server", "disk_stuffed"):
            server.fill(1 << 20)
            time.sleep(self.rng.uniform(0.2, 2))
            server.make_room()
            if server.process.poll() is not None:
                self.round.note(f"the server ended with status {server.process.poll()}")
                server.start()


class HomeFaults(Faults):
    """Without room for its journal a mount answers what the server has."""
    kinds = {"client_full": 1}

    def __init__(self, round, client, gap_s):
        super().__init__(round, f"disk of {client.name}", gap_s)
        self.home = client.home

    def client_full(self):
        with Trouble(self.round, self.name, "client_full"):
            fill_disk(self.home, self.rng.choice((0, 0, 1 << 20, 9 << 20)))
            time.sleep(self.rng.choice((1, 5, 15)) * self.rng.random())		# long enough for a mount to begin on it
            empty_disk(self.home)


class LinkFaults(Faults):
    kinds = {"cut": 6, "flap": 2, "cut_long": 1, "delay": 3, "lose": 3}

    def __init__(self, round, link, gap_s):
        super().__init__(round, f"link of {link.name}", gap_s)
        self.link = link

    def _bad(self, kind, say, seconds, undo):
        with Trouble(self.round, self.name, kind):
            self.link.say(say)
            time.sleep(seconds)
            self.link.say(undo)

    def cut(self):
        self._bad("cut", "cut", self.rng.choice((0.05, 0.5, 2)) * self.rng.random(), "restore")

    def flap(self):
        with Trouble(self.round, self.name, "flap"):
            for _ in range(self.rng.randint(2, 6)):
                self.link.say("cut")
                time.sleep(self.rng.uniform(0.05, 0.5))
                self.link.say("restore")
                time.sleep(self.rng.uniform(0.05, 0.5))

    def cut_long(self):
        self._bad("cut_long", "cut", self.beyond_term(), "restore")

    def delay(self):
        self._bad("delay", f"delay {self.rng.randint(5, 80)}", self.rng.uniform(0.5, 3), "delay 1")

    def lose(self):
        self._bad("lose", f"loss {self.rng.randint(1, 10)}", self.rng.uniform(0.5, 3), "loss 0")


class ClientFaults(Faults):
    kinds = {"client_kill": 6, "client_kill_long": 1, "kill_in_replay": 3, "client_restart": 3, "client_stop": 3,
             "client_stop_long": 1, "kill_both": 1}

    def __init__(self, round, client, gap_s):
        super().__init__(round, client.name, gap_s)
        self.client, self.number, self.board = client, client.number, round.board
        self.good_until = time.monotonic()	# until then it had lost nothing, and nobody else been given what it held
        self.lapsed, self.answers = False, True
        self.stranded_since = self.redone_at = self.doubt_since = 0.0
        self.polled = 0.0
        self.interval_s = 1.0

    # ---- its workers ----

    def workers(self):
        return self.round.workers_of[self.number]

    def still(self):
        return all(self.board.state(w) in (PAUSED, DOUBT, DONE, FAILED) for w in self.workers())

    def hold(self):
        """Until no worker is in a call; the watch sees to it that this ends."""
        self.board.want(self.number, PAUSE)
        while not self.still() and not self.round.broken.is_set():
            time.sleep(POLL_S)

    def release(self):
        self.board.want(self.number, self.round.wanted)

    # ---- loss of leases: the mount does again what it had not committed ----

    def look(self):
        """False: it has lost something for good, until it is mounted anew."""
        now = time.monotonic()
        status = self.client.status()
        self.answers = status is not None
        if not self.answers:
            self.lapsed = True
            return True			# what waits may wait still
        stranded = status["journal"] == "stranded"
        # Just back, it has yet to hear which leases it has still.
        self.lapsed = status["lapsed"] or status["reclaiming"] or stranded
        if not stranded:
            self.stranded_since = 0.0
            if self.client.redone():
                # What it had lost it has done again by now.
                self.redone_at = time.monotonic()
                self.round.floats.append((self.number, self.good_until, self.redone_at))
                # Calls on what is lost wait until then, but not for ever: what they did goes on top of the old.
                self.settle(self.good_until if self.redone_at - self.good_until > GATE_S else 0)
                self.round.troubles.count("leases_lost")
                self.round.note(f"{self.name}: what was lost with its leases was done again")
        elif self.stranded_since == 0:
            self.stranded_since = now
        elif now - max(self.stranded_since, self.round.troubles.calm_since) > self.round.watch.limit_s and \
                not self.round.troubles.any():
            self.round.violation(f"HANG: {self.name} does not do again what it lost with its leases")
            self.round.broken.set()
        if stranded and (now - self.stranded_since > GATE_S or "journal_error" in status):
            self.round.on_old.add(self.number)		# who calls now finds the old
        if status["lost_objects"] > 0:
            return False
        if not self.lapsed:
            self.good_until = now
        return True

    def explained(self):
        """Calls that a loss of leases broke off are told so by EIO, once; who is in doubt then looks at all."""
        if self.stranded_since != 0:
            return True
        if time.monotonic() - self.redone_at > REDONE_S:
            return False
        self.settle(0)
        return True

    def settle(self, lost):
        """All its workers look whether everything is there."""
        if self.board.up(self.number):
            self.board.set_lost(self.number, lost)
            self.board.turn(self.number)
            self.board.turn(self.number)

    def attend(self):
        """Notices a loss, and workers in doubt."""
        in_doubt = [w for w in self.workers() if self.board.in_doubt(w, self.number)]
        now = time.monotonic()
        if not in_doubt and now - self.polled < self.interval_s:
            return
        self.polled = now
        if not self.look():
            self.heal()
        elif not in_doubt or not self.answers or not self.board.up(self.number) or self.explained():
            self.doubt_since = 0.0
        elif self.doubt_since == 0:
            self.doubt_since = now		# it may say in a moment that it lost something
        elif now - self.doubt_since > DOUBT_S:
            self.round.violation(self.board.doubt(in_doubt[0]))
            self.round.over.set()

    def heal(self):
        """What it cannot bring back by itself comes with the next mount."""
        with Trouble(self.round, self.name, "lost"):
            self.hold()
            self.down(self.good_until, lost=True)
            if not self.client.unmount():
                self.client.kill()
            self.up()
            self.release()

    # ---- down and up ----

    def down(self, since, lost=False):
        if self.client.redone():
            since, lost = min(since, self.good_until), True
        self.since = since
        self.board.set_lost(self.number, since if lost else 0)
        self.board.turn(self.number)
        return lost

    def up(self, floats=True):
        self.client.keep_journal(self.round.number)
        deadline = time.monotonic() + 180
        options = [f"commit={self.rng.choice((1, 2, 5, 20))}"]
        while not self.client.mount(*options):
            if time.monotonic() > deadline or self.round.broken.is_set():
                raise RuntimeError("it cannot be mounted any more")
            time.sleep(0.3)
        # In a hurry, or under load, it may not answer at once; what its journal did must not be missed for that.
        while (status := self.client.status()) is None:
            if time.monotonic() > deadline or self.round.broken.is_set():
                raise RuntimeError("it is mounted, but does not say how it is")
            time.sleep(0.3)
        if status["journal"] == "stranded":
            # The server was full: it is mounted all the same, and look() hears when that has been done.
            self.lapsed, self.good_until = True, self.since
            self.round.on_old.add(self.number)
        else:
            self.good_until = time.monotonic()
            if floats:
                self.round.floats.append((self.number, self.since, self.good_until))
        self.board.turn(self.number)

    def _killed(self, kind, seconds, again=0, with_server=False):
        if not self.look():
            return self.heal()
        with Trouble(self.round, self.name, kind):
            # Beyond its term others may be given what it holds; and what was called meanwhile did not wait for ever.
            now = time.monotonic()
            since = self.good_until if self.lapsed else now
            self.down(since, lost=now - since > GATE_S)
            if with_server:
                with self.world.server.lock, Trouble(self.round, "server", "server_kill"):
                    self.world.server.kill()
                    self.client.kill()
                    time.sleep(seconds)
                    self.world.server.start()
            else:
                self.client.kill()
                time.sleep(seconds)
            for _ in range(again):
                self.client.launch("commit=2")
                time.sleep(self.rng.choice((0.05, 0.2, 0.6)) * self.rng.random())
                self.client.kill()
            self.up()

    def client_kill(self):
        self._killed("client_kill", self.rng.uniform(0, 1))

    def client_kill_long(self):
        self._killed("client_kill_long", self.beyond_term())

    def kill_in_replay(self):
        self._killed("kill_in_replay", self.rng.uniform(0, 0.3), again=self.rng.randint(1, 4))

    def kill_both(self):
        self._killed("kill_both", self.rng.uniform(0, 1), with_server=True)

    def client_restart(self):
        if self.world.server.lock.acquire(timeout=0.1):
            self.world.server.lock.release()
        else:
            return
        with Trouble(self.round, self.name, "client_restart"):
            self.hold()
            self.look()
            doubt = any(self.board.in_doubt(w, self.number) for w in self.workers())
            if not doubt and self.look() and self.client.unmount():
                waits = any(v.get("journal_operations", 0) != 0 for v in self.client.volumes())
                lost = self.down(self.good_until, lost=waits)
                if not lost:
                    self.round.unmounts.append((self.number, time.monotonic()))
                self.up(floats=lost)
            self.release()

    def _stopped(self, kind, seconds):
        process = self.client.process
        with Trouble(self.round, self.name, kind):
            process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            process.send_signal(signal.SIGCONT)

    def client_stop(self):
        o = self.world.options
        self._stopped("client_stop", self.rng.uniform(0.1, 0.5) * o.term_ms / 1000)

    def client_stop_long(self):
        """As a suspended machine: who works on it sleeps too, and wakes up at about the same time, or later."""
        if self.rng.random() < 0.4:
            self.hold()
            if not self.look():
                self.release()
                return
        early = self.rng.random() < 0.5
        self.board.want(self.number, PAUSE)
        self._stopped("client_stop_long", self.beyond_term())
        time.sleep(0.5 if early else 2)
        if early:
            self.release()
        self.polled = 0.0
        self.attend()
        self.release()


def all_faults(round):
    """The threads, not begun."""
    world, gap = round.world, round.world.options.gap_s
    faults = [ServerFaults(round, 2 * gap)]
    if not round.forgetful:
        faults.append(DiskFaults(round, 3 * gap))
    faults += [LinkFaults(round, c.link, gap) for c in world.clients]
    faults += [HomeFaults(round, c, 4 * gap) for c in world.clients]
    return faults
