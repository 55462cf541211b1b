/*
 * wanlink - a wide-area link between two network namespaces.
 *
 *   wanlink [-d DELAY_MS] [-r MBIT] [-l LOSS_PERCENT] [-q QUEUE_KB] [-s SEED]
 *           [-c FIFO] [-i DEVICE] [-o] NS_A ADDR_A/LEN NS_B ADDR_B/LEN
 *
 * Each namespace (one that `ip netns add` made) gets a TUN device, "wan0" or
 * what -i calls it, with its address; packets cross with the given one-way delay, rate, random loss
 * and tail-drop queue, each way for itself.  Real TCP runs over it, so slow
 * start, retransmission and head-of-line blocking are the kernel's own.
 *
 * "ready" is printed once both ends are up.  SIGUSR1 cuts the link: what is on
 * its way and what is sent meanwhile is lost.  SIGUSR2 restores it.  SIGTERM,
 * SIGINT and the end of the process remove it, devices and all.  The FIFO of -c
 * takes one command a line:
 *
 *   cut | restore | delay MS | rate MBIT | loss PERCENT | queue KB | quit
 *
 * Each one that took effect, by signal or by line, is echoed on stdout.
 *
 * With -o the devices cut up what TCP sends, and put together what it receives, as
 * network cards do (TSO, GRO): they take up to 64 KiB as one packet, which crosses
 * whole or not at all, and counts as the frames it would have been.  Both kernels and
 * this process then work as little as with a cable; where they share cores with what
 * is measured, at 1 Gbit/s they are half of it else.
 *
 *   ip netns add cli; ip netns add srv
 *   wanlink -d 25 -r 100 cli 10.99.0.1/30 srv 10.99.0.2/30 &
 *   ip netns exec srv server ...; ip netns exec cli client 10.99.0.2
 *
 * One thread does everything.  A packet's time of arrival is fixed when it is
 * read: it enters the wire when the last one has left, takes its length / rate
 * to leave, and arrives a delay later.  As delay only changes by command and
 * arrival never goes backwards, each way is a plain queue.  Timer slack is off
 * and the thread runs ahead of ordinary ones, so what jitter remains is a few
 * microseconds of wake-up.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
	MTU = 1500,
	SLOTS = 65536,		/* packets under way in one direction, 100 MB of them */
	WHOLE = 65536 + 1024,	/* with -o, the most that is one packet, its header included, */
	WHOLE_SLOTS = 4096,	/* and how many are under way, 270 MB of them */
	BATCH = 64,		/* packets read from one side before the other has its turn */
	TX_QUEUE = 4096,	/* of the device, so that drops happen in our queue */
};

static const uint64_t NS_PER_S = 1000000000, NS_PER_MS = 1000000;

struct packet {
	uint64_t due_ns;
	size_t len;
	uint8_t data[];
};

/*
 * One direction.  1. head - tail <= slots.  2. due_ns never falls from tail to head.
 */
struct way {
	int from, to;			/* TUN devices, not blocking */
	uint8_t *ring;			/* of link.slots packets; slot = index % slots */
	uint64_t head, tail;		/* next to fill, next to deliver */
	uint64_t wire_free_ns;		/* when the last accepted byte has left */
};

struct link {
	uint64_t delay_ns;
	double ns_per_byte;		/* 0: no limit of rate, and no queue */
	double queue_bytes;		/* 0: 100 ms of the rate, as a home router has */
	double loss;			/* probability */
	uint64_t random;		/* xorshift64 state, never 0 */
	bool cut, quit;
	bool offload;			/* each packet begins with a struct virtio_net_hdr */
	size_t room, slots;		/* for one packet, and packets for one way */
	struct way ways[2];
};

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static bool
link_loses(struct link *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (l->random >> 11) * 0x1p-53 < l->loss;
}

static size_t
slot_size(const struct link *l)
{
	const size_t align = _Alignof(struct packet);

	return (sizeof(struct packet) + l->room + align - 1) / align * align;
}

static struct packet *
packet_at(const struct link *l, const struct way *w, uint64_t index)
{
	return (struct packet *)(w->ring + index % l->slots * slot_size(l));
}

/* Bytes on the wire: of each frame that it would be, the headers too. */
static double
packet_weight(const struct link *l, const struct packet *p)
{
	const uint8_t *ip = p->data + sizeof(struct virtio_net_hdr);
	struct virtio_net_hdr h;
	size_t len, ip_header, headers, frames;

	if (!l->offload)
		return p->len;
	memcpy(&h, p->data, sizeof h);
	len = p->len - sizeof h;
	ip_header = (ip[0] & 15) * 4;
	if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE || h.gso_size == 0 || len < ip_header + sizeof(struct tcphdr))
		return len;
	headers = ip_header + (ip[ip_header + 12] >> 4) * 4;	/* h.hdr_len is but a hint */
	frames = (len - headers + h.gso_size - 1) / h.gso_size;
	return len + (frames - 1) * headers;
}

/* Whether a packet read at t is carried; if so its slot gets its due time. */
static bool
way_admit(struct link *l, struct way *w, struct packet *p, uint64_t t)
{
	uint64_t start = w->wire_free_ns > t ? w->wire_free_ns : t;
	double queue_ns = l->queue_bytes > 0 ? l->queue_bytes * l->ns_per_byte : 0.1 * NS_PER_S;

	if (l->cut || (l->loss > 0 && link_loses(l)))
		return false;
	if (l->ns_per_byte > 0 && start - t > queue_ns)
		return false;
	w->wire_free_ns = start + (uint64_t)(packet_weight(l, p) * l->ns_per_byte);
	p->due_ns = w->wire_free_ns + l->delay_ns;
	if (w->head != w->tail && p->due_ns < packet_at(l, w, w->head - 1)->due_ns)
		p->due_ns = packet_at(l, w, w->head - 1)->due_ns;
	return true;
}

static void
way_accept(struct link *l, struct way *w)
{
	uint64_t t = now_ns();

	for (int i = 0; i < BATCH && w->head - w->tail < l->slots; i++) {
		struct packet *p = packet_at(l, w, w->head);
		ssize_t n = read(w->from, p->data, l->room);

		if (n <= (ssize_t)(l->offload ? sizeof(struct virtio_net_hdr) : 0))
			return;
		p->len = n;
		w->head += way_admit(l, w, p, t);
	}
}

static void
way_deliver(const struct link *l, struct way *w, uint64_t t)
{
	for (; w->tail != w->head && packet_at(l, w, w->tail)->due_ns <= t; w->tail++) {
		struct packet *p = packet_at(l, w, w->tail);

		/* A device that is down or full loses packets; TCP is used to that. */
		if (write(w->to, p->data, p->len) < 0 && errno == EINVAL)
			warn("a packet of %zu bytes", p->len);
	}
}

static void
link_set_cut(struct link *l, bool cut)
{
	l->cut = cut;
	for (int i = 0; i < 2 && cut; i++)
		l->ways[i].tail = l->ways[i].head;
	puts(cut ? "cut" : "restore");
}

static void
link_command(struct link *l, char *line)
{
	char word[16];
	double v = -1;
	int n = sscanf(line, "%15s %lf", word, &v);

	if (n < 1)
		return;
	if (n == 1 && strcmp(word, "cut") == 0)
		link_set_cut(l, true);
	else if (n == 1 && strcmp(word, "restore") == 0)
		link_set_cut(l, false);
	else if (n == 1 && strcmp(word, "quit") == 0)
		l->quit = true;
	else if (v >= 0 && strcmp(word, "delay") == 0)
		l->delay_ns = v * NS_PER_MS;
	else if (v >= 0 && strcmp(word, "rate") == 0)
		l->ns_per_byte = v > 0 ? 8000 / v : 0;
	else if (v >= 0 && strcmp(word, "loss") == 0)
		l->loss = v / 100;
	else if (v >= 0 && strcmp(word, "queue") == 0)
		l->queue_bytes = v * 1024;
	else {
		warnx("not a command: %s", line);
		return;
	}
	if (n == 2)
		printf("%s %g\n", word, v);
	fflush(stdout);
}

/* A line longer than the buffer is taken in pieces, which are then no commands. */
static void
link_read_commands(struct link *l, int fd)
{
	static char text[256];
	static size_t used;
	ssize_t n = read(fd, text + used, sizeof text - 1 - used);
	char *at = text, *end;

	if (n <= 0)
		return;
	used += n;
	text[used] = '\0';
	while ((end = strchr(at, '\n')) != NULL) {
		*end = '\0';
		link_command(l, at);
		at = end + 1;
	}
	used -= at - text;
	memmove(text, at, used);
	if (used == sizeof text - 1)
		used = 0;
}

static void
link_read_signal(struct link *l, int fd)
{
	struct signalfd_siginfo s;

	if (read(fd, &s, sizeof s) != sizeof s)
		return;
	if (s.ssi_signo == SIGUSR1 || s.ssi_signo == SIGUSR2)
		link_set_cut(l, s.ssi_signo == SIGUSR1);
	else
		l->quit = true;
	fflush(stdout);
}

static void
link_run(struct link *l, int signals, int commands)
{
	struct pollfd fds[4] = {
		{ .fd = l->ways[0].from }, { .fd = l->ways[1].from },
		{ .fd = signals, .events = POLLIN }, { .fd = commands, .events = POLLIN },
	};

	while (!l->quit) {
		uint64_t t = now_ns(), due = UINT64_MAX;
		struct timespec wait;

		for (int i = 0; i < 2; i++) {
			struct way *w = &l->ways[i];

			way_deliver(l, w, t);
			if (w->tail != w->head && packet_at(l, w, w->tail)->due_ns < due)
				due = packet_at(l, w, w->tail)->due_ns;
			/* A full ring is not polled, or the loop would spin until it drains. */
			fds[i].events = w->head - w->tail < l->slots ? POLLIN : 0;
		}
		t = now_ns();
		if (due != UINT64_MAX) {
			uint64_t left = due > t ? due - t : 0;

			wait = (struct timespec){ left / NS_PER_S, left % NS_PER_S };
		}
		if (ppoll(fds, 4, due != UINT64_MAX ? &wait : NULL, NULL) <= 0)
			continue;
		for (int i = 0; i < 2; i++)
			if (fds[i].revents & POLLIN)
				way_accept(l, &l->ways[i]);
		if (fds[2].revents & POLLIN)
			link_read_signal(l, signals);
		if (fds[3].revents & POLLIN)
			link_read_commands(l, commands);
	}
}

/* Gives the device its address and brings it and the loopback up, in the current namespace. */
static int
device_configure(struct ifreq ifr, const char *address)
{
	char ip[INET_ADDRSTRLEN];
	struct sockaddr_in sin = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_DGRAM, 0), len, ret = -1;

	if (s < 0 || sscanf(address, "%15[0-9.]/%d", ip, &len) != 2 || len < 1 || len > 32 ||
	    inet_pton(AF_INET, ip, &sin.sin_addr) != 1)
		goto out;
	memcpy(&ifr.ifr_addr, &sin, sizeof sin);
	if (ioctl(s, SIOCSIFADDR, &ifr) < 0)
		goto out;
	sin.sin_addr.s_addr = htonl(UINT32_MAX << (32 - len));
	memcpy(&ifr.ifr_netmask, &sin, sizeof sin);
	if (ioctl(s, SIOCSIFNETMASK, &ifr) < 0)
		goto out;
	ifr.ifr_mtu = MTU;
	if (ioctl(s, SIOCSIFMTU, &ifr) < 0)
		goto out;
	ifr.ifr_qlen = TX_QUEUE;
	if (ioctl(s, SIOCSIFTXQLEN, &ifr) < 0)
		goto out;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING | IFF_POINTOPOINT;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		goto out;
	ifr = (struct ifreq){ .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK };
	ret = ioctl(s, SIOCSIFFLAGS, &ifr);
out:
	if (s >= 0)
		close(s);
	return ret;
}

/* The device lives as long as the returned descriptor. */
static int
device_open(const char *name, bool offload, const char *ns, const char *address)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TUN | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0)) };
	char path[128];
	int home, there, fd;

	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
	snprintf(path, sizeof path, "/run/netns/%s", ns);
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
		err(1, "namespace %s", ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		err(1, "/dev/net/tun in %s", ns);
	if (offload && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
		err(1, "offloading in %s", ns);
	if (device_configure(ifr, address) < 0)
		err(1, "%s in %s with address %s", name, ns, address);
	if (setns(home, CLONE_NEWNET) < 0)
		err(1, "going home");
	close(there);
	close(home);
	return fd;
}

static int
signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		err(1, "signalfd");
	return fd;
}

static double
number(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= 0))
		errx(2, "not a number: %s", text);
	return v;
}

int
main(int argc, char **argv)
{
	struct link l = { .random = 1, .room = MTU, .slots = SLOTS };
	const char *device = "wan0";
	double mbit = 0;
	int c, a, b, signals, commands = -1;

	while ((c = getopt(argc, argv, "d:r:l:q:s:c:i:o")) != -1)
		switch (c) {
		case 'd': l.delay_ns = number(optarg) * NS_PER_MS; break;
		case 'r': mbit = number(optarg); break;
		case 'l': l.loss = number(optarg) / 100; break;
		case 'q': l.queue_bytes = number(optarg) * 1024; break;
		case 's': l.random = number(optarg) * 2 + 1; break;
		case 'c':
			/* Both ways, so that the last writer's close is no end of file. */
			if ((commands = open(optarg, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0)
				err(1, "%s", optarg);
			break;
		case 'i': device = optarg; break;
		case 'o':
			l.offload = true;
			l.room = WHOLE;
			l.slots = WHOLE_SLOTS;
			break;
		default: argc = 0;
		}
	if (argc - optind != 4)
		errx(2, "usage: wanlink [-d DELAY_MS] [-r MBIT] [-l LOSS_PERCENT] [-q QUEUE_KB]"
		    " [-s SEED] [-c FIFO] [-i DEVICE] [-o] NS_A ADDR_A/LEN NS_B ADDR_B/LEN");
	l.ns_per_byte = mbit > 0 ? 8000 / mbit : 0;
	signals = signals_open();
	a = device_open(device, l.offload, argv[optind], argv[optind + 1]);
	b = device_open(device, l.offload, argv[optind + 2], argv[optind + 3]);
	l.ways[0] = (struct way){ .from = a, .to = b, .ring = malloc(l.slots * slot_size(&l)) };
	l.ways[1] = (struct way){ .from = b, .to = a, .ring = malloc(l.slots * slot_size(&l)) };
	if (l.ways[0].ring == NULL || l.ways[1].ring == NULL)
		err(1, "rings");
	prctl(PR_SET_TIMERSLACK, 1);
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 });
	puts("ready");
	fflush(stdout);
	link_run(&l, signals, commands);
	return 0;
}
