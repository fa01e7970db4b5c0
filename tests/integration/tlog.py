# SPDX-License-Identifier: Apache-2.0
"""What a third party needs to check a proof, written from the documents: RFC 8032, RFC 6962, C2SP
signed-note and tlog-proof, and docs/format/proof.md. It shares nothing with Daybook."""
import base64
import hashlib
import struct

P = 2 ** 255 - 19
L = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _add(a, b):
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    z = 2 * a[3] * b[3] * D % P
    t = 2 * a[2] * b[2] % P
    e, f, g, h = y - x, t - z, t + z, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n, point):
    result = (0, 1, 1, 0)
    while n > 0:
        if n & 1:
            result = _add(result, point)
        point = _add(point, point)
        n >>= 1
    return result


def _point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    """Ed25519, as RFC 8032 verifies."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    left, right = _times(s, BASE), _add(_point(r), _times(h, _point(key)))
    return s < L and (left[0] * right[2] - right[0] * left[2]) % P == 0 and \
        (left[1] * right[2] - right[1] * left[2]) % P == 0


def open_note(note, vkey):
    """Size and root of a checkpoint, when the key has signed it."""
    name, key_id, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 1 and hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    text, signatures = note[:note.index("\n\n") + 1], note[note.index("\n\n") + 2:]
    assert signatures.endswith("\n")
    lines = [line.split(" ") for line in signatures[:-1].split("\n")]
    ours = [base64.b64decode(s) for dash, n, s in lines if (dash, n) == ("\u2014", name)]
    assert any(s[:4].hex() == key_id and signed(key[1:], text.encode(), s[4:]) for s in ours)
    origin, size, root = text.rstrip("\n").split("\n")
    return origin, int(size), base64.b64decode(root)


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaves):
    """RFC 6962, section 2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node(root_of(leaves[:half]), root_of(leaves[half:]))


def include(leaf, index, size, path):
    """The root that an audit path leads to: from the leaf up, by where it lies in each subtree."""
    def walk(at, count, left):
        if count == 1:
            assert not left
            return leaf
        half = 1
        while half * 2 < count:
            half *= 2
        if at < half:
            return node(walk(at, half, left[:-1]), left[-1])
        return node(left[-1], walk(at - half, count - half, left[:-1]))
    return walk(index, size, path)


def read_proof(text, vkey):
    """The event that a proof shows to be in the tree of its checkpoint."""
    head, note = text.split("\n\n", 1)
    first, extra, index, *path = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    extra = base64.b64decode(extra[len("extra "):], validate=True)
    index = int(index[len("index "):])
    _, size, root = open_note(note, vkey)
    assert extra[:9] == b"\0dbkleaf2"
    position, version, time_us, occurred_us, event_id, flags, schema = \
        struct.unpack_from("<QQqq16sIH", extra, 9)
    at = 63
    names = []
    for _ in range(2):
        length, = struct.unpack_from("<H", extra, at)
        names.append(extra[at + 2:at + 2 + length].decode())
        at += 2 + length
    digest, content = extra[at:at + 32], extra[at + 32:]
    leaf = hashlib.sha256(extra[:at + 32]).digest()
    assert position == index + 1 and flags & 4 == 0
    assert include(leaf, index, size, [base64.b64decode(h) for h in path]) == root
    event = {"position": position, "version": version, "time_us": time_us, "id": event_id.hex(),
             "occurred_us": occurred_us, "schema": schema, "stream": names[0], "type": names[1],
             "leaf": leaf}
    if content:
        assert hashlib.sha256(content).digest() == digest
        tags, data, meta, _ = struct.unpack_from("<IIII", content)
        event["data"] = content[16 + tags:16 + tags + data].decode()
        event["meta"] = content[16 + tags + data:16 + tags + data + meta].decode()
    return event
