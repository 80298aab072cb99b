"""The stream of random integers that every question is drawn from."""

import hmac
from struct import unpack

from hypothesis import given
from hypothesis import strategies as st

from harness.frozen.draw import Stream


@given(key=st.binary(max_size=200), label=st.text(max_size=80))
def test_a_stream_is_hmac_sha256_of_label_and_counter(key, label):
    """Keys of more than a block (64 bytes) too, and streams of one key after each other."""
    for _ in range(2):
        stream = Stream(key, label)
        drawn = [stream.integer(0, 65535) for _ in range(40)]
        blocks = b"".join(
            hmac.digest(key, label.encode() + bytes([0, 0, 0, counter]), "sha256") for counter in range(3)
        )
        assert drawn == list(unpack(">48H", blocks))[:40]
