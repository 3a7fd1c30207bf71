"""stream.py -- responses that are made while they are sent: each step runs in its request."""
from asgiref.sync import sync_to_async

from . import state


def keep_in_request(response, request):
    """Has the rest of a streaming response routed as its request; True if it streams.
    Files are left alone: they ask no database, and the server may have a faster way to send them."""
    if not getattr(response, "streaming", False) or getattr(response, "file_to_stream", None) is not None:
        return False
    steps = _async_steps if getattr(response, "is_async", False) else _steps
    response.streaming_content = steps(request, response.streaming_content)
    return True


def _finish(request):
    try:
        request.abandon()
    finally:
        request.end()


def _steps(request, content):
    iterator = iter(content)
    try:
        while True:
            before = state.current()
            state.enter(request)
            try:
                piece = next(iterator)
            except StopIteration:
                return
            finally:
                state.enter(before)
            request.abandon()  # before the piece leaves that may tell of it
            yield piece
    finally:
        _finish(request)


async def _async_steps(request, content):
    iterator = content.__aiter__()
    try:
        while True:
            before = state.current()
            state.enter(request)
            try:
                piece = await iterator.__anext__()
            except StopAsyncIteration:
                return
            finally:
                state.enter(before)
            if request.may_wait():
                await sync_to_async(request.abandon, thread_sensitive=False)()
            yield piece
    finally:
        _finish(request)
