"""XXH3-64, as the XXH3 specification has it: slow, and nobody else's code."""
import struct

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

SECRET = bytes.fromhex(
    'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
    'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'
    '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8'
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364'
    'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e'
    '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e')


def r32(b, at):
    return int.from_bytes(b[at:at + 4], 'little')


def r64(b, at):
    return int.from_bytes(b[at:at + 8], 'little')


def rotl(v, n):
    return (v << n | v >> 64 - n) & M64


def fold(a, b):
    p = a * b
    return (p ^ p >> 64) & M64


def avalanche(h):
    h = (h ^ h >> 37) * MX1 & M64
    return h ^ h >> 32


def avalanche_xxh64(h):
    h = (h ^ h >> 33) * P64_2 & M64
    h = (h ^ h >> 29) * P64_3 & M64
    return h ^ h >> 32


def short(d, n, seed):
    if n == 0:
        return avalanche_xxh64(seed ^ r64(SECRET, 56) ^ r64(SECRET, 64))
    if n <= 3:
        combined = d[0] << 16 | d[n >> 1] << 24 | d[n - 1] | n << 8
        return avalanche_xxh64(combined ^ (r32(SECRET, 0) ^ r32(SECRET, 4)) + seed & M64)
    if n <= 8:
        seed ^= int.from_bytes((seed & M32).to_bytes(4, 'little'), 'big') << 32
        h = (r32(d, n - 4) + (r32(d, 0) << 32)) ^ (r64(SECRET, 8) ^ r64(SECRET, 16)) - seed & M64
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * MX2 & M64
        h = (h ^ (h >> 35) + n) * MX2 & M64
        return h ^ h >> 28
    low = r64(d, 0) ^ (r64(SECRET, 24) ^ r64(SECRET, 32)) + seed & M64
    high = r64(d, n - 8) ^ (r64(SECRET, 40) ^ r64(SECRET, 48)) - seed & M64
    swapped = int.from_bytes(low.to_bytes(8, 'little'), 'big')
    return avalanche(n + swapped + high + fold(low, high) & M64)


def middle(d, n, seed):
    def mix(at, secret):
        return fold(r64(d, at) ^ r64(SECRET, secret) + seed & M64, r64(d, at + 8) ^ r64(SECRET, secret + 8) - seed & M64)

    acc = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            acc += mix(16 * i, 32 * i) + mix(n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc & M64)
    for i in range(8):
        acc += mix(16 * i, 16 * i)
    acc = avalanche(acc & M64)
    for i in range(8, n // 16):
        acc += mix(16 * i, 16 * (i - 8) + 3)
    return avalanche(acc + mix(n - 16, 119) & M64)


def long(d, n, seed):
    secret = struct.unpack('<24Q', SECRET)
    secret = struct.pack('<24Q', *(s + (seed if i % 2 == 0 else -seed) & M64 for i, s in enumerate(secret)))
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]

    def accumulate(at, offset):
        keys = struct.unpack_from('<8Q', secret, offset)
        for i, v in enumerate(struct.unpack_from('<8Q', d, at)):
            k = v ^ keys[i]
            acc[i ^ 1] += v
            acc[i] += (k & M32) * (k >> 32)

    blocks = (n - 1) // 1024
    for b in range(blocks):
        for s in range(16):
            accumulate(b * 1024 + s * 64, s * 8)
        keys = struct.unpack_from('<8Q', secret, 128)
        for i in range(8):
            a = acc[i] & M64
            acc[i] = (a ^ a >> 47 ^ keys[i]) * P32_1 & M64
    for s in range((n - 1 - blocks * 1024) // 64):
        accumulate(blocks * 1024 + s * 64, s * 8)
    accumulate(n - 64, 121)
    h = n * P64_1
    for i in range(4):
        h += fold(acc[2 * i] & M64 ^ r64(secret, 11 + 16 * i), acc[2 * i + 1] & M64 ^ r64(secret, 19 + 16 * i))
    return avalanche(h & M64)


def xxh3(data, seed=0):
    n = len(data)
    return short(data, n, seed) if n <= 16 else middle(data, n, seed) if n <= 240 else long(data, n, seed)
