"""The conversation of a join without a token: commit, reveal, and a person who compares six digits.

The stream goes to a hypivisor that nobody has vouched for yet; what vouches for it is that two people see the
same digits (`join_token.join_code`).
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc

from hyperpi import join_token, secret_text, tls
from hyperpi.wire.hyperpi.v1 import enrolment_pb2 as pb
from node.refusals import BadAnswer, JoinDenied, TimedOut, WrongMesh

ANSWER_TIMEOUT_S = 10.0  # of the hypivisor, before a person has anything to do
KNOCK_EVERY_S = 60.0  # the hypivisor forgets who has not knocked for five minutes

JoinStream = grpc.aio.StreamStreamCall[pb.JoinStep, pb.JoinAnswer]


async def agree_on_code(
    stream: JoinStream, key_pem: bytes, ca_fingerprint: bytes, wished_name: str | None, host_name: str
) -> str:
    """The six digits that both sides must show. Raises WrongMesh when the hypivisor changed its nonce."""
    nonce = secrets.token_bytes(32)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            hello = pb.JoinHello(wished_name=wished_name or "", host_name=host_name)
            await _say(stream, pb.JoinStep(hello=hello))
            commitment = (await _answer(stream, "commitment")).commitment.commitment
            # Only now, when the hypivisor can no longer choose: our key and nonce.
            await _say(stream, pb.JoinStep(key=pb.JoinKey(csr_der=tls.make_csr(key_pem), nonce=nonce)))
            theirs = (await _answer(stream, "reveal")).reveal.nonce
    except TimeoutError:
        raise TimedOut("the hypivisor did not answer in time", hint="try again") from None
    if len(theirs) != 32 or not secret_text.same(join_token.join_commitment(theirs), commitment):
        raise WrongMesh(
            "the hypivisor did not keep to what it committed to", hint="somebody stands in between"
        )
    return join_token.join_code(ca_fingerprint, tls.public_key(key_pem), nonce, theirs)


async def approved(
    stream: JoinStream, code: str, confirm: Callable[[str], Awaitable[bool]]
) -> pb.EnrollReply:
    """The answer once the person here and an admin there both said yes.

    The person's yes is needed here whatever the hypivisor says: a rogue one must not adopt a machine alone.
    """
    asking = asyncio.ensure_future(confirm(code))
    granting = asyncio.ensure_future(_answer(stream, "granted"))
    knocking = asyncio.ensure_future(_knock(stream))
    tasks = {asking, granting, knocking}
    try:
        await asyncio.wait({asking, granting}, return_when=asyncio.FIRST_COMPLETED)
        if granting.done() and not asking.done():
            granting.result()  # raises the refusal, if it is one
        if not await asking:
            raise JoinDenied("you said that the digits differ", hint="somebody may stand in between")
        await _say(stream, pb.JoinStep(confirm=pb.JoinConfirm()))
        return (await granting).granted
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _knock(stream: JoinStream) -> None:
    while True:
        await asyncio.sleep(KNOCK_EVERY_S)
        await _say(stream, pb.JoinStep(knock=pb.JoinKnock()))


async def _say(stream: JoinStream, step: pb.JoinStep) -> None:
    """Send a step. When the call has ended meanwhile, the next read says why."""
    with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        await stream.write(step)


async def _answer(stream: JoinStream, expected: str) -> pb.JoinAnswer:
    answer = await stream.read()  # raises AioRpcError when the call ended with a refusal
    if not isinstance(answer, pb.JoinAnswer) or answer.WhichOneof("answer") != expected:
        raise BadAnswer(f"the hypivisor sent something else than {expected}")
    return answer
