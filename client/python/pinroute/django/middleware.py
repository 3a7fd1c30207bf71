"""middleware.py -- where a request begins and ends."""
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async

from . import conf, state
from .site import site
from .stream import keep_in_request

READ_ONLY_METHODS = frozenset(["GET", "HEAD", "OPTIONS", "TRACE"])


def _carried(request):
    """What the client brought along: its cookie's value, its header's."""
    brought = [request.COOKIES.get(conf.pinning_cookie())]
    header = conf.conf().token_header
    if header:
        brought.append(request.headers.get(header))
    return [text for text in brought if text is not None]


class PinningRouterMiddleware:
    """Put it first in MIDDLEWARE, before all that writes; for WSGI and ASGI, sync and async views.

    Each request gets a scope: the router's reads go by who makes the request and by what its tokens say.  A request
    writes if its method does, if its view is a @db_write, or if the ORM was asked to write; that is recorded before the
    response leaves, also when the view has raised.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response=None):
        conf.conf()  # so that a wrong setting is known at start
        self.get_response = get_response
        self._async = get_response is not None and iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request):
        if self._async:
            return self._acall(request)
        before = state.current()
        try:
            response = self.process_request(request) or self.get_response(request)
            return self.process_response(request, response)
        finally:
            self._leave(request, before)

    async def _acall(self, request):
        before = state.current()
        try:
            begin = self.process_request
            if _carried(request) or (conf.conf().hold_ms and request.method not in READ_ONLY_METHODS):
                begin = sync_to_async(begin, thread_sensitive=False)  # the daemon may be asked
                response = await begin(request)
            else:
                response = begin(request)
            response = response or await self.get_response(request)
            if self._of(request).may_wait(response):
                return await sync_to_async(self.process_response, thread_sensitive=False)(request, response)
            return self.process_response(request, response)
        finally:
            self._leave(request, before)

    def process_request(self, request):
        """Begins the request: from here on this context routes for it, and nothing of an earlier one is left."""
        state.unpin_context()
        scope = site().begin(request, _carried(request), unsafe=request.method not in READ_ONLY_METHODS)
        request._pinroute = scope
        state.enter(scope)

    def process_response(self, request, response):
        """Records what was written, gives the client its cookie, and ends the request; a stream goes on in it."""
        scope = self._of(request)
        said = scope.finish(response)
        if said:
            self._tell(response, said, site().cookie_seconds(scope))
        if not keep_in_request(response, scope):
            scope.end()
        request._pinroute = None
        if state.current() is scope:
            state.enter(None)
        return response

    def _of(self, request):
        """The request's scope; begun here, when nobody has called process_request."""
        scope = getattr(request, "_pinroute", None)
        if scope is None:
            scope = site().begin(request, [], unsafe=request.method not in READ_ONLY_METHODS)
            request._pinroute = scope
        return scope

    @staticmethod
    def _tell(response, said, seconds):
        response.set_cookie(conf.pinning_cookie(), said, max_age=seconds, secure=conf.pinning_cookie_secure(),
                            httponly=conf.pinning_cookie_httponly(), samesite=conf.pinning_cookie_samesite())
        header = conf.conf().token_header
        if header:
            response[header] = said

    @staticmethod
    def _leave(request, before):
        """The last word, also when an exception passes by: what was written is recorded."""
        scope = getattr(request, "_pinroute", None)
        request._pinroute = None
        state.enter(before)
        if scope is not None and not scope.over:
            try:
                scope.abandon()
            finally:
                scope.end()
