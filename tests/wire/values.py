"""Which values can a message, a policy, a package and an offline transaction hold?"""

from hypothesis import settings
from hypothesis import strategies as st

from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
from gateway.wire.offline import OfflineTransaction
from gateway.wire.package import (
    DeviceFields,
    Flags,
    OaepHash,
    Package,
    PackagePolicy,
    PasswordClasses,
    RsaWrapping,
    SecretWrapping,
)
from gateway.wire.secret import ALPHABET, MOST_ITERATIONS, RANDOM_ITERATIONS
from gateway.wire.timestep import LATEST, moment_at

# The same examples on each machine and in each run.
fixed = settings(derandomize=True, deadline=None, max_examples=50, database=None)

_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


def texts(most_bytes: int) -> st.SearchStrategy[str]:
    """Text of one to so many bytes."""
    return st.text(_characters, min_size=1, max_size=most_bytes).filter(
        lambda t: len(t.encode()) <= most_bytes
    )


ids = texts(16) | st.sampled_from(["a" * 64, "ü" * 32])
digests = st.binary(min_size=32, max_size=32)
moments = st.integers(0, LATEST).map(moment_at)
_steps = st.integers(0, 2**64 - 1)
_common = {
    "application": ids,
    "user": ids,
    "content_digest": digests,
    "fingerprint": digests | st.just(b""),
    "step": _steps,
}

messages = st.one_of(
    st.builds(
        Message,
        operation=st.sampled_from([Operation.APPROVE, Operation.DECLINE, Operation.AUTHENTICATE]),
        media_type=texts(30),
        transaction=ids,
        title=st.none() | texts(30),
        **_common,
    ),
    st.builds(Message, operation=st.just(Operation.AUTHENTICATE), media_type=texts(30), **_common),
    st.builds(
        Message,
        operation=st.sampled_from([Operation.REGISTER_KEY, Operation.RENEW_KEYS]),
        media_type=st.just(KEY_MEDIA_TYPE),
        **_common,
    ),
)

policies = st.builds(
    PackagePolicy,
    flags=st.integers(0, 31).map(Flags),
    password_length=st.integers(6, 64),
    password_classes=st.integers(0, 15).map(PasswordClasses),
    step_seconds=st.integers(1, 65535),
    digits=st.sampled_from([0, 6, 7, 8, 9, 10]),
    device_fields=st.integers(0, 65535).map(DeviceFields),
)

_described = {
    "issuer": texts(20),
    "application": ids,
    "user": ids,
    "keyset": ids,
    "url": st.sampled_from(["https://confirm.example", "http://127.0.0.1:8443", "https://x.example/a/b"]),
    "valid_until": moments,
    "policy": policies,
    "door_pin": st.none() | digests,
}
_wrapped = st.binary(min_size=40, max_size=40)
_block = st.binary(min_size=256, max_size=256)

packages = st.one_of(
    st.builds(
        Package,
        wrapping=st.builds(
            SecretWrapping,
            st.binary(min_size=16, max_size=16),
            st.integers(RANDOM_ITERATIONS, MOST_ITERATIONS),
        ),
        khmac=_wrapped,
        kauth=_wrapped,
        secret=st.none() | st.text(ALPHABET, min_size=26, max_size=26),
        **_described,
    ),
    st.builds(
        Package,
        wrapping=st.sampled_from(OaepHash).map(RsaWrapping),
        khmac=_block,
        kauth=_block,
        **_described,
    ),
)

offline_transactions = st.builds(
    OfflineTransaction,
    application=ids,
    user=ids,
    transaction=ids,
    media_type=texts(30),
    content=st.binary(min_size=1, max_size=60) | st.just(b"x" * 1500),
    digits=st.integers(6, 10),
    expires_at=moments,
    title=st.none() | texts(30),
    operation=st.sampled_from([Operation.APPROVE, Operation.AUTHENTICATE]),
)
