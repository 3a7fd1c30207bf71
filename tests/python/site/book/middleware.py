"""middleware.py -- who an API client is, and what a request did, for the tests to see."""
import contextlib
import os

from django.contrib.auth import get_user_model
from django.core import signing
from django.db import connections
from django.http import HttpResponse


def api_token(user):
    """What an API client of this user sends: `Authorization: Token ...`."""
    return signing.dumps(user.pk)


class ApiUserMiddleware:
    """Sets request.user from the Authorization header; such a client has neither cookies nor a session."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Token":
            try:
                request.user = get_user_model().objects.get(pk=signing.loads(token))
            except (signing.BadSignature, get_user_model().DoesNotExist):
                return HttpResponse(status=401)
        return self.get_response(request)


class WitnessMiddleware:
    """Says in the response which process answered and which databases were really asked, in order."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        asked = []
        with contextlib.ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(self.note(asked, connection.alias)))
            response = self.get_response(request)
        response["X-Book-Worker"] = os.getpid()
        response["X-Book-Asked"] = ",".join(asked)
        return response

    @staticmethod
    def note(asked, alias):
        def execute(run, *arguments):
            asked.append(alias)
            return run(*arguments)
        return execute
