"""Why this machine could not join, renew or reach the enrol port: errors that say what to do next."""

import grpc

from hyperpi import channels
from hyperpi.errors import Conflict, Expired, HyperPiError, NothingThere, Overloaded, Unauthenticated


class NothingListening(NothingThere):
    """Nothing answers at this host and port."""


class NotAnEnrolPort(NothingThere):
    """Something answers, but it is not the enrol port of a hypivisor."""


class TimedOut(NothingThere):
    """The host or the hypivisor did not answer in time. Retryable."""


class WrongMesh(Unauthenticated):
    """The hypivisor is not the one that made the token. The secret was not sent. Not retryable."""


class BadAnswer(Unauthenticated):
    """The hypivisor's answer does not fit what was asked for. Not retryable."""


class WrongClock(Unauthenticated):
    """This machine's clock is so far from the hypivisor's that certificates do not hold."""


class UnknownToken(Unauthenticated):
    """The hypivisor does not know this token."""


class UsedToken(Conflict):
    """The token has been used already."""


class ExpiredToken(Expired):
    """The token's time is over, or it was revoked."""


class OtherNodeName(Conflict):
    """The token is for a node of another name."""


class KeyRevoked(Conflict):
    """This machine's key was revoked."""


class NodeUnknown(Unauthenticated):
    """The hypivisor knows no node with this id and key."""


class TooManyAttempts(Overloaded):
    """Too many failed attempts from this address. Retry later."""


class JoinExpired(Expired):
    """Nobody approved the six digits in time."""


class JoinDenied(Conflict):
    """The six digits were turned away, here or at the hypivisor."""


class JoinFull(Overloaded):
    """Too many machines wait to be approved. Retry later."""


class JoinSuperseded(Conflict):
    """This machine asked again, so this request is over."""


class NotRecorded(Overloaded):
    """The hypivisor's disk is full: what it cannot write down it does not do. Retry later."""


class EnrolmentRefused(Conflict):
    """Refused for a reason that this version does not know."""


_NEW_TOKEN = "make a new one on the hypivisor's machine: hyperpi token create --role node"  # noqa: S105  not a secret

_REFUSALS: dict[str, tuple[type[HyperPiError], str]] = {
    "TOKEN_UNKNOWN": (UnknownToken, f"copy the token again, whole, or {_NEW_TOKEN}"),
    "TOKEN_USED": (UsedToken, _NEW_TOKEN),
    "TOKEN_EXPIRED": (ExpiredToken, _NEW_TOKEN),
    "TOKEN_OTHER_NAME": (OtherNodeName, "join without --name, or with the name that the token is for"),
    "KEY_REVOKED": (KeyRevoked, "join again with a new token"),
    "NODE_UNKNOWN": (NodeUnknown, "join again with a new token"),
    "TOO_MANY_ATTEMPTS": (TooManyAttempts, "wait a quarter of an hour, then use a new token"),
    "JOIN_EXPIRED": (JoinExpired, "ask again, and approve the digits in Pi-DE within five minutes"),
    "JOIN_DENIED": (JoinDenied, "ask again, and compare the digits on both screens"),
    "JOIN_FULL": (JoinFull, "approve or deny those that wait, or use a token"),
    "JOIN_SUPERSEDED": (JoinSuperseded, "go on in the other window"),
    "NOT_RECORDED": (NotRecorded, "make room on the hypivisor's disk; then the same command works"),
}


def refusal_of(exc: grpc.aio.AioRpcError) -> str:
    """The name of the pb.Refusal in a call's trailing metadata, or nothing."""
    found = [value for key, value in exc.trailing_metadata() or () if key == channels.REFUSAL_KEY]
    return str(found[0]) if found else ""


def failure_of(exc: grpc.aio.AioRpcError, host: str, port: int) -> HyperPiError:
    """What a failed call means, for a person."""
    refusal = refusal_of(exc)
    if refusal in _REFUSALS:
        cls, hint = _REFUSALS[refusal]
        return cls(str(exc.details()), hint=hint)
    if refusal:
        return EnrolmentRefused(str(exc.details()))
    if exc.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"the hypivisor at {host}:{port} did not answer in time", hint="try again")
    if exc.code() == grpc.StatusCode.UNAVAILABLE:
        return NothingListening(
            f"the hypivisor at {host}:{port} cannot be reached", hint="is `hyperpi up` running there?"
        )
    return EnrolmentRefused(f"the hypivisor at {host}:{port} failed: {exc.details()}", hint="see its log")


def not_an_enrol_port(host: str, port: int) -> NotAnEnrolPort:
    """Something of ours or of others listens there, but not what joining needs."""
    return NotAnEnrolPort(
        f"what listens at {host}:{port} is not the enrol port of a hypivisor",
        hint="the enrol port is 31417 by default; `hyperpi up` prints the whole join command",
    )
