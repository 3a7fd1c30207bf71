"""wsgi.py -- the site as gunicorn and uWSGI load it."""
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "book.settings")
application = get_wsgi_application()


def ask_before_the_fork():
    """Many a site reads while it loads: where workers are forked after that, the router has been used by then."""
    from django.db import router

    from book.models import Post
    return router.db_for_read(Post)


ask_before_the_fork()
