# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures and signed notes, verified with nothing of Daybook's: RFC 8032, section 5.1,
in plain integers, and C2SP signed-note."""
import base64
import hashlib

P = 2 ** 255 - 19
Q = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, d - c, d + c, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number, point):
    result = (0, 1, 1, 0)
    while number > 0:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _recover(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2 ** 255 - 1)
    x = _recover(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


Y = 4 * pow(5, P - 2, P) % P
BASE = (_recover(Y, 0), Y, 1, _recover(Y, 0) * Y % P)


def verify(public_key, message, signature):
    """Whether the signature is the key's, of the message."""
    a, r = _point(public_key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    return _equal(_times(s, BASE), _add(r, _times(int.from_bytes(digest, "little") % Q, a)))


def open_note(note, key):
    """The text of a signed note, once the key (name+id+base64) has been found to have signed it."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    name, key_id, encoded = key.strip().split("+", 2)
    algorithm = base64.b64decode(encoded)
    assert algorithm[0] == 1 and len(algorithm) == 33
    for line in signatures.splitlines():
        dash, signer, value = line.split(" ")
        value = base64.b64decode(value)
        if dash == "\u2014" and signer == name and value[:4].hex() == key_id:
            assert verify(algorithm[1:], text.encode(), value[4:]), "the signature is wrong"
            return text
    raise AssertionError(f"{name} has not signed it")
