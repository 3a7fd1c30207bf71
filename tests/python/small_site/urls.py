"""urls.py -- /NAME is answered by small_site.views[NAME], sync or async."""
import asyncio

from django.urls import path

from small_site import views


class Dispatch:
    """One function for sync views and one for async ones: Django looks at which it is."""

    @staticmethod
    def sync(request, name):
        return views[name](request)

    @staticmethod
    async def asynchronous(request, name):
        assert asyncio.iscoroutinefunction(views[name])
        return await views[name](request)


urlpatterns = [path("async/<name>", Dispatch.asynchronous), path("<name>", Dispatch.sync)]
