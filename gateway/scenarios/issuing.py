"""How are keys made for several users at once: in one hop to the device, and then in one unit?

Begun again for a user who changed meanwhile. What fails for one is nobody else's matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from gateway.refusals import Refusal
from gateway.rules.device import Device
from gateway.rules.keyset import Keyset
from gateway.scenarios.adoption import Bound, Issue, Planned, bind_all, gather, write_all
from gateway.scenarios.bindings import BrokenBinding
from gateway.scenarios.context import Context
from gateway.scenarios.packaging import activation_codes, make_package, wrapping_key
from gateway.wire.package import Package
from hsm.errors import DeviceUnavailable

_TRIES = 5
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Adopted:
    """A keyset that was written, its device, and the package that brings it to the phone."""

    keyset: Keyset
    device: Device
    package: Package


@dataclass(frozen=True, slots=True)
class _Torn:
    """User and keysets, read for a whole group by a statement each, do not go together: one may have changed between.

    Whether a row is broken shows at the next attempt.
    """

    issue: Issue
    package: Package


async def adopt(ctx: Context, planned: Sequence[Planned]) -> list[Adopted | Exception]:
    """Have planned keys made, and write the keysets with the HSM's MACs; bind again where a user changed meanwhile.

    Returns for each what came of it, or:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``devices_full``, ``concurrent_change``.
        BrokenBinding: a keyset of the user, or the user's state, is not what the HSM vouched for.
    """
    if not planned:
        return []
    try:
        bound = await ctx.on_device(_make_all, ctx, planned)
    except Exception as error:  # noqa: BLE001 - it belongs to who asked for these keys
        return [error] * len(planned)
    written = await ctx.unit_of_all(write_all, [each for each in bound if isinstance(each, Bound)])
    following = iter(written)
    return [
        each
        if isinstance(each, Exception)
        else await _finished(ctx, each, next(following) if isinstance(each, Bound) else None)
        for each in bound
    ]


async def _finished(
    ctx: Context, bound: Bound | _Torn, device: Device | Exception | None
) -> Adopted | Exception:
    """Return what came of it, after as many further attempts as it takes, each on what is there at one moment."""
    tries = 1
    while device is None and tries < _TRIES:
        tries += 1
        try:
            seen = await ctx.reading(gather, bound.issue)
            bound = await ctx.on_device(bind_all, ctx, Planned(bound.issue, seen), bound.package)
            (device,) = await ctx.unit(write_all, [bound])
        except Exception as error:  # noqa: BLE001 - it belongs to who asked for these keys
            return error
    if isinstance(device, Exception):
        return device
    if device is None or not isinstance(bound, Bound):
        return Refusal("concurrent_change")
    return Adopted(bound.fresh, device, bound.package)


def _make_all(ctx: Context, planned: Sequence[Planned]) -> list[Bound | _Torn | Exception]:
    """Make the keys of each, and bind the keysets; those of users who have none yet, in one turn."""
    pairs = list(zip(planned, _packages(ctx, planned), strict=True))
    first = [(each, package) for each, package in pairs if isinstance(package, Package) and each.is_first]
    bound = iter(_bind_first(ctx, first))

    def made(each: Planned, package: Package | Exception) -> Bound | _Torn | Exception:
        if isinstance(package, Exception):
            return package
        if each.is_first:
            return next(bound)
        found = _attempt(bind_all, ctx, each, package)
        return _Torn(each.issue, package) if isinstance(found, BrokenBinding) else found

    return [made(*pair) for pair in pairs]


def _bind_first(ctx: Context, first: Sequence[tuple[Planned, Package]]) -> Sequence[Bound | Exception]:
    """Bind these in one turn; where that fails and the device is there, each in its own."""
    try:
        return ctx.device.together(lambda desk: [bind_all(ctx.at(desk), *pair) for pair in first])
    except DeviceUnavailable:
        raise
    except Exception:  # noqa: BLE001 - one of them did it
        return [_attempt(bind_all, ctx, *pair) for pair in first]


def _packages(ctx: Context, planned: Sequence[Planned]) -> list[Package | Exception]:
    """Make the keys of each; if the device is away for one, the others do not wait for it as well."""
    plans = [each.issue.plan for each in planned]
    # What the next ones are wrapped under is computed on another core while the token makes the keys of one.
    coming = [
        None if code is None else ctx.computing.submit(wrapping_key, plan, code)
        for plan, code in zip(plans, activation_codes(ctx, plans), strict=True)
    ]
    made: list[Package | Exception] = []
    away: DeviceUnavailable | None = None
    for plan, key in zip(plans, coming, strict=True):
        made.append(_attempt(make_package, ctx, plan, key) if away is None else away)
        if isinstance(made[-1], DeviceUnavailable):
            away = made[-1]
    return made


def _attempt(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
    try:
        return work(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it belongs to who asked for these keys
        return error
