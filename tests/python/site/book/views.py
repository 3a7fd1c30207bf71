"""views.py -- join, write in several ways, look."""
import os

from django.contrib.auth import get_user_model, login
from django.db import transaction
from django.http import JsonResponse
from django.views.decorators.http import require_GET, require_POST

from book.middleware import api_token
from book.models import Post


def posted(post, **more):
    return JsonResponse({"pid": os.getpid(), "id": post.pk, **more})


def write(request):
    values = request.POST or request.GET
    return Post.objects.create(author=request.user if request.user.is_authenticated else None, text=values["text"])


@require_POST
def join(request):
    """A new user, logged in at once; what an API client needs is in the answer."""
    user = get_user_model().objects.create_user(request.POST["name"])
    login(request, user)
    return JsonResponse({"pid": os.getpid(), "id": user.pk, "token": api_token(user)})


@require_POST
def sign(request):
    return posted(write(request))


@require_POST
def sign_in_a_transaction(request):
    """Looks at its own post before it is committed: only the primary knows of it."""
    with transaction.atomic():
        before = Post.objects.filter(text=request.POST["text"])
        before_alias, before_count = before.db, before.count()
        with transaction.atomic():
            post = write(request)
        return posted(post, aliases=[before_alias, Post.objects.all().db],
                      counts=[before_count, Post.objects.filter(pk=post.pk).count()])


@require_POST
def sign_and_fail(request):
    """Has committed when it fails."""
    raise RuntimeError(f"after post {write(request).pk}")


@require_GET
def sign_by_link(request):
    """Writes in a GET, as no view should and many do: counters, logs, get_or_create()."""
    return posted(write(request))


@require_GET
def seen(request):
    """Is there a post of this text, and which database was it looked for in?"""
    posts = Post.objects.filter(text=request.GET["text"])
    return JsonResponse({"pid": os.getpid(), "visible": posts.exists(), "alias": posts.db,
                         "who": request.user.get_username()})


@require_GET
def ping(request):
    """Who answers?  Asks no database."""
    return JsonResponse({"pid": os.getpid()})
