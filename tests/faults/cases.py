"""The table: every fault, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count, repeat

from tests.faults.faults import (
    chunked,
    corrupt,
    corrupt_upload,
    drop,
    drop_after,
    drop_upload,
    forever_slow,
    ignore_range,
    lie_about_length,
    longer,
    lost_answer,
    redirect,
    shorter,
    silence,
    slow,
    speak_no_http,
    status,
    with_headers,
    wrong_content_range,
)
from tests.faults.proxy import Fault, Script, Where, always, blob_reads, upload_data
from tests.faults.runner import Case, Mode
from tests.faults.wire import Exchange, Headers, Request
from tests.faults.wires import closed_door, elsewhere, tls, tokens
from wclayer.oci.registry.secrets import Secret

__all__ = ["DOWNLOADS", "UPLOADS"]

PASSWORD: dict[str, object] = {"anonymous": False, "username": "someone", "password": Secret("secret")}
SHORT: dict[str, object] = {"read_timeout": 1.0, "connect_timeout": 1.0}
FEW: dict[str, object] = {**SHORT, "retries": 2}


def once(*faults: Fault | None, where: Where = blob_reads) -> Callable[[], Script]:
    """The first requests meet these faults, one each; the others none."""
    return lambda: Script(where, faults)


def ever(fault: Fault, *, after: int = 0, where: Where = blob_reads) -> Callable[[], Script]:
    """All requests meet the fault, but for the first few."""
    return lambda: Script(where, chain(repeat(None, after), always(fault)))


def first_then_ever(first: Fault, then: Fault, *, where: Where = blob_reads) -> Callable[[], Script]:
    """One fault, and another one ever after."""
    return lambda: Script(where, chain([first], always(then)))


def _other_tag(code: int, headers: Headers) -> tuple[int, Headers]:
    return code, [(name, '"another"' if name.lower() == "etag" else value) for name, value in headers]


def _said_to_be_packed(code: int, headers: Headers) -> tuple[int, Headers]:
    return code, [*headers, ("Content-Encoding", "gzip")]


def _no_content_range(code: int, headers: Headers) -> tuple[int, Headers]:
    return code, [pair for pair in headers if pair[0].lower() != "content-range"]


def _itself(exchange: Exchange) -> str:
    return f"http://{exchange.server.host}{exchange.request.target}"


def _there_and_back(exchange: Exchange) -> str:
    path = exchange.request.path
    return f"http://{exchange.server.host}{path}" + ("" if exchange.request.query else "?again=1")


def _further(numbers: count[int]) -> Callable[[Exchange], str]:
    return lambda exchange: f"http://{exchange.server.host}{exchange.request.path}?step={next(numbers)}"


def _is_read(exchange: Exchange) -> bool:
    return blob_reads(exchange.request)


def _begins(exchange: Exchange) -> bool:
    return exchange.request.method == "POST"


ONE: tuple[Mode, ...] = ("one part",)
FOUR: tuple[Mode, ...] = ("four parts",)

DOWNLOADS = [
    Case("nothing", once()),
    Case("drop at 1 %", once(drop(0.01)), least=2),
    Case("drop at 50 %", once(drop(0.5)), least=2),
    Case("drop at 99 %", once(drop(0.99)), least=2),
    Case("drop at 50 %, seven times", once(*[drop(0.5)] * 7), least=8),
    Case("drop after every 300 KB, for ever", ever(drop_after(300_000)), least=14),
    Case("drop before the first byte, twice", once(drop(0), drop(0)), least=3),
    Case("drop before the first byte, for ever", ever(drop(0)), 5, "in the middle of the answer", least=6),
    Case("drop after a few bytes, for ever", ever(drop(0.00001)), 5, "tried 6 times", least=6),
    Case("connection reset at 50 %", once(drop(0.5, reset=True)), least=2, most=1.6),
    Case("closed without an answer, for ever", once(), 5, "closed without an answer", least=0, wire=closed_door),
    Case("a wrong byte", once(corrupt(0.5)), least=2, most=2.1),
    Case("a wrong byte, for ever", ever(corrupt(0.5)), 6, "has the digest", least=2, most=2.1),
    Case("a wrong byte, then a drop", once(corrupt(0.1), drop(0.5)), least=2, most=2.1),
    Case("200 instead of 206, after a drop", once(drop(0.5), ignore_range), least=2, most=3.5),
    Case("200 instead of 206, for ever", ever(ignore_range), least=1, most=5),
    Case("wrong Content-Range: other bytes", once(drop(0.5), wrong_content_range("bytes 7-99/4194304")), most=2.1),
    Case("wrong Content-Range: no range", once(drop(0.5), wrong_content_range("from here to there")), most=2.1),
    Case("wrong Content-Range: other size", once(drop(0.5), wrong_content_range("bytes 0-9/99999")), most=2.6),
    Case("wrong Content-Range, for ever", ever(wrong_content_range("bytes 9-10/4194304")), most=2.1),
    Case("206 without Content-Range", once(drop(0.5), with_headers(_no_content_range)), most=2.1),
    Case("416 for a range that there is", once(drop(0.5), status(416)), least=3, most=2.1),
    Case("416 with another size", once(drop(0.5), status(416, ("Content-Range", "bytes */99"))), most=2.1),
    Case("another entity tag after a drop", once(drop(0.5, change=_other_tag)), least=3, most=2.6, modes=ONE),
    Case("another entity tag at every drop", once(*[drop(0.5, change=_other_tag)] * 3), most=4.5),
    Case("401 in the middle: token expired", once(drop(0.5)), least=4, wire=tokens(uses=1), modes=ONE),
    Case("401 in the middle: token expired", once(drop(0.5)), least=9, wire=tokens(uses=5), modes=FOUR),
    Case("401 in the middle, for ever", once(drop(0.5)), 4, "wants to know", wire=tokens(uses=9, tired_after=1)),
    Case("403 in the middle, for ever", first_then_ever(drop(0.5), status(403)), 4, "denies"),
    Case("404 in the middle, for ever", first_then_ever(drop(0.5), status(404)), 3, "not found or no access"),
    Case("429 with Retry-After", once(status(429, ("Retry-After", "1"))), least=2),
    Case("429 with Retry-After in the middle", once(drop(0.5), status(429, ("Retry-After", "1"))), least=3),
    Case("429, for ever", ever(status(429)), 5, "too many requests", least=6),
    Case("429 with Retry-After of a day", ever(status(429, ("Retry-After", "86400"))), 5, "asks to wait 86400 s"),
    Case("a storm of 5xx", once(*map(status, (500, 502, 503, 504))), least=5),
    Case("503, for ever", ever(status(503)), 5, "HTTP 503", least=6),
    Case("500 in the middle, for ever", first_then_ever(drop(0.5), status(500)), 5, "HTTP 500", least=6),
    Case("a slow beginning", once(slow(0.01, 50))),
    Case("a slow trickle, for ever", ever(forever_slow), 5, "bytes a second", least=3, settings=FEW),
    Case("silence", once(silence), least=2, settings=SHORT),
    Case("silence, for ever", ever(silence), 5, "timed out", least=3, settings=FEW),
    Case("a redirect to itself", ever(redirect(_itself)), 5, "circle of redirects"),
    Case("redirects in a circle", ever(redirect(_there_and_back)), 5, "circle of redirects", least=2),
    Case("redirects without end", ever(redirect(_further(count()))), 5, "more than 10 redirects", least=10),
    Case("a redirect to another host", once(), least=1, settings=PASSWORD, wire=elsewhere(_is_read)),
    Case("a redirect to another host, and a drop", once(drop(0.5)), settings=PASSWORD, wire=elsewhere(_is_read)),
    Case("Content-Length too long", once(lie_about_length(100)), least=2, most=2.1),
    Case("Content-Length too short", once(lie_about_length(-100)), least=2, most=2.1),
    Case("Content-Length too long, for ever", ever(lie_about_length(100)), 6, "bytes long where", most=2.1),
    Case("Content-Length too short, for ever", ever(lie_about_length(-100)), 6, "bytes long where", most=2.1),
    Case("a byte too many, length not said", ever(chunked(longer)), 6, "longer than", most=2.1, modes=ONE),
    Case("too few bytes, length not said", once(chunked(shorter)), least=2),
    Case("said to be packed, and is not", ever(with_headers(_said_to_be_packed))),
    Case("what is sent is no HTTP", once(speak_no_http), least=2),
    Case("what is sent is no HTTP, for ever", ever(speak_no_http), 5, "not an answer of HTTP", least=6),
    Case("TLS where plain was expected", once(), 5, "", least=0, wire=tls),
    Case("plain where TLS was expected", once(), 5, "does not speak TLS", least=0, settings={"plain_http": False}),
]


def _patches(request: Request) -> bool:
    return request.method == "PATCH"


def _puts(request: Request) -> bool:
    return request.method == "PUT"


def _large(request: Request) -> bool:
    return request.method == "PATCH" and int(request.headers.get("content-length", "0")) > 1 << 20


def _any(request: Request) -> bool:
    return "/blobs/" in request.path


def _begun(request: Request) -> bool:
    return request.method == "POST"


def _session(request: Request) -> bool:
    return "/blobs/uploads/" in request.path and request.method != "POST"


def _has_more(code: int, headers: Headers) -> tuple[int, Headers]:
    return code, [(name, "0-999999999" if name.lower() == "range" else value) for name, value in headers]


def _has_another(code: int, headers: Headers) -> tuple[int, Headers]:
    name = "Docker-Content-Digest"
    return code, [*(pair for pair in headers if pair[0].lower() != name.lower()), (name, f"sha256:{'0' * 64}")]


def _nowhere(code: int, headers: Headers) -> tuple[int, Headers]:
    return code, [pair for pair in headers if pair[0].lower() != "location"]


def up(
    name: str, script: Callable[[], Script], exit_code: int = 0, says: str = "", most: float = 1.1, **rest: object
) -> Case:
    """A case of an upload, in one request and in chunks."""
    return Case(name, script, exit_code, says, most, **{"modes": ("upload", "chunks"), **rest})  # type: ignore[arg-type]


CHUNKS: tuple[Mode, ...] = ("chunks",)
UPLOADS = [
    up("nothing", once()),
    up("drop at 1 %", once(drop_upload(0.01), where=upload_data), most=2.1, least=5),
    up("drop at 50 %", once(drop_upload(0.5), where=upload_data), most=2.1, least=5),
    up("drop at 99 %", once(drop_upload(0.99), where=upload_data), most=2.1, least=5),
    up("connection reset at 50 %", once(drop_upload(0.5, reset=True), where=upload_data), most=2.1, least=5),
    up("drop before the first byte, for ever", ever(drop_upload(0), where=upload_data), 5, "tried 6 times"),
    up("closed without an answer, for ever", once(), 5, "closed without an answer", least=0, wire=closed_door),
    up("the answer to data is lost", once(lost_answer, where=upload_data), most=2.1, least=5),
    up("the last answer is lost", once(lost_answer, where=_puts), most=1.1, least=4),
    up("a wrong byte", once(corrupt_upload(0.5), where=upload_data), most=2.1, least=5),
    up("a wrong byte, for ever", ever(corrupt_upload(0.5), where=upload_data), 6, "another digest", least=5),
    up("401 in the middle: token expired", once(), most=2.1, least=5, wire=tokens(uses=1)),
    up("401 in the middle, for ever", once(), 4, "wants to know", wire=tokens(uses=99, tired_after=2)),
    up("403 in the middle, for ever", ever(status(403), where=_puts), 4, "denies"),
    up("429 with Retry-After", once(status(429, ("Retry-After", "1")), where=upload_data), most=2.1, least=5),
    up("429, for ever", ever(status(429), where=upload_data), 5, "HTTP 429", least=6),
    up("a storm of 5xx", once(*map(status, (500, 502, 503, 504)), where=upload_data), most=5.1, least=8),
    up("503, for ever", ever(status(503), where=upload_data), 5, "HTTP 503", least=6),
    up("503 at the end, for ever", ever(status(503), where=_puts), 5, "HTTP 503", least=6),
    up("silence, for ever", ever(silence, where=upload_data), 5, "timed out", least=3, settings=FEW),
    up("a session that is forgotten", once(None, status(404), status(404), where=_session), most=2.1, modes=CHUNKS),
    up("PATCH is not known (405)", ever(status(405), where=_patches), most=2.1),
    up("PATCH is not known (404)", ever(status(404), where=_patches), most=2.1),
    up("too large a request (413)", ever(status(413), where=_large), most=3),
    up("too large whatever the size (413)", ever(status(413), where=upload_data), 5, "HTTP 413"),
    up("416 in the middle", once(None, status(416), where=_patches), most=1.3, modes=CHUNKS),
    up("the registry has more than was sent", ever(with_headers(_has_more), where=_patches), 5, "has 1000000000 bytes"),
    up("the registry stored another blob", ever(with_headers(_has_another), where=_puts), 6, "stored sha256:000"),
    up("no Location for the upload", ever(with_headers(_nowhere), where=_begun), 5, "no Location"),
    up("a redirect to itself", ever(redirect(_itself), where=_begun), 5, "circle of redirects"),
    up("a Location on another host", once(), settings=PASSWORD, wire=elsewhere(_begins, location=True)),
    up("no right to look (403)", ever(status(403), where=_any), 4, "denies"),
    up("what is sent is no HTTP, for ever", ever(speak_no_http, where=upload_data), 5, "not an answer of HTTP"),
    up("TLS where plain was expected", once(), 5, "", least=0, wire=tls),
]
