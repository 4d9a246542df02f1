"""What can go wrong with one exchange, each as a function that makes it go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.faults.proxy import Change, Fault, Proxy, as_it_is
from tests.faults.wire import Exchange, HangUp, Headers

__all__ = [
    "chunked",
    "corrupt",
    "corrupt_upload",
    "drop",
    "drop_after",
    "drop_upload",
    "forever_slow",
    "ignore_range",
    "lie_about_length",
    "longer",
    "lost_answer",
    "redirect",
    "shorter",
    "silence",
    "slow",
    "speak_no_http",
    "status",
    "with_headers",
    "wrong_content_range",
]

Pieces = Iterator[bytes]


def _cut(left: int, *, reset: bool) -> Callable[[Pieces], Pieces]:
    def cut(pieces: Pieces) -> Pieces:
        rest = left
        for piece in pieces:
            yield piece[:rest]
            rest -= len(piece)
            if rest <= 0:
                raise HangUp(reset=reset)

    return cut


def drop(share: float, *, reset: bool = False, change: Change = as_it_is) -> Fault:
    """The connection breaks after ``share`` of the answer's body, whose head may be changed too."""

    def body(pieces: Pieces, length: int) -> Pieces:
        return _cut(int(length * share), reset=reset)(pieces)

    return lambda proxy, exchange: proxy.relay(exchange, body=body, change=change)


def drop_after(count: int) -> Fault:
    """The connection breaks after so many bytes of the answer's body, if there are more."""

    def body(pieces: Pieces, length: int) -> Pieces:
        return pieces if length <= count else _cut(count, reset=False)(pieces)

    return lambda proxy, exchange: proxy.relay(exchange, body=body)


def _flip(share: float) -> Callable[[Pieces, int], Pieces]:
    def change(pieces: Pieces, length: int) -> Pieces:
        at = min(int(length * share), length - 1)
        for piece in pieces:
            if 0 <= at < len(piece):
                piece = piece[:at] + bytes([piece[at] ^ 0x20]) + piece[at + 1 :]
            at -= len(piece)
            yield piece

    return change


def corrupt(share: float) -> Fault:
    """One byte of the answer is another one."""
    return lambda proxy, exchange: proxy.relay(exchange, body=_flip(share))


def with_headers(change: Change) -> Fault:
    """Status and headers of the answer are changed."""
    return lambda proxy, exchange: proxy.relay(exchange, change=change)


def wrong_content_range(text: str) -> Fault:
    """The bytes that were asked for, said to be others."""

    def change(status: int, headers: Headers) -> tuple[int, Headers]:
        return status, [(name, text if name.lower() == "content-range" else value) for name, value in headers]

    return with_headers(change)


def ignore_range(proxy: Proxy, exchange: Exchange) -> None:
    """The whole blob, status 200, whatever part was asked for."""
    proxy.relay(exchange, without=["range"])


def status(code: int, *headers: tuple[str, str], body: bytes = b"") -> Fault:
    """An answer with this status, which the registry knows nothing of."""

    def answer(proxy: Proxy, exchange: Exchange) -> None:
        exchange.read()
        exchange.respond(code, headers, body)

    return answer


def slow(seconds: float, pieces: int) -> Fault:
    """The body comes a byte at a time at first: ``pieces`` bytes, ``seconds`` apart."""

    def trickle(body: Pieces, length: int, exchange: Exchange) -> Pieces:
        count = 0
        for piece in body:
            while count < pieces and piece:
                exchange.server.sleep(seconds)
                yield piece[:1]
                piece, count = piece[1:], count + 1
            yield piece

    return lambda proxy, exchange: proxy.relay(exchange, body=lambda body, length: trickle(body, length, exchange))


def forever_slow(proxy: Proxy, exchange: Exchange) -> None:
    """A byte now and then, with no end in sight."""
    slow(0.05, 1 << 30)(proxy, exchange)


def silence(proxy: Proxy, exchange: Exchange) -> None:
    """No answer at all, and the connection stays."""
    exchange.server.sleep(600)


def lie_about_length(more: int) -> Fault:
    """The announced length of the answer is off by so many bytes."""

    def body(pieces: Pieces, length: int) -> Pieces:
        left = length + min(more, 0)
        for piece in pieces:
            yield piece[:left]
            left -= len(piece[:left])

    return lambda proxy, exchange: proxy.relay(exchange, raw_length=more, body=body)


def chunked(change: Callable[[Pieces], Pieces]) -> Fault:
    """The body comes without an announced length, and ``change`` makes it longer or shorter."""

    def answer(proxy: Proxy, exchange: Exchange) -> None:
        exchange.chunked = True
        proxy.relay(exchange, body=lambda pieces, _: change(pieces))

    return answer


def longer(pieces: Pieces) -> Pieces:
    """A byte more than there should be."""
    yield from pieces
    yield b"!"


def shorter(pieces: Pieces) -> Pieces:
    """Only the first piece."""
    yield next(pieces)[:1000]


def lost_answer(proxy: Proxy, exchange: Exchange) -> None:
    """The registry does what it is asked to, and its answer is lost."""

    def lose(code: int, headers: Headers) -> tuple[int, Headers]:
        raise HangUp

    proxy.relay(exchange, change=lose)


def redirect(to: Callable[[Exchange], str], code: int = 307) -> Fault:
    """The client is sent elsewhere."""
    return lambda _, exchange: exchange.respond(code, [("Location", to(exchange))])


def speak_no_http(proxy: Proxy, exchange: Exchange) -> None:
    """What is sent is no HTTP."""
    exchange.raw(b"\x15\x03\x01\x00\x02\x02\x46 what did you say?\r\n\r\n")
    raise HangUp


def drop_upload(share: float, *, reset: bool = False) -> Fault:
    """The connection breaks after ``share`` of the request's body has reached the registry."""

    def upload(pieces: Pieces, length: int) -> Pieces:
        return _cut(int(length * share), reset=reset)(pieces)

    return lambda proxy, exchange: proxy.relay(exchange, upload=upload)


def corrupt_upload(share: float) -> Fault:
    """One byte of the request's body is another one when it reaches the registry."""
    return lambda proxy, exchange: proxy.relay(exchange, upload=_flip(share))
