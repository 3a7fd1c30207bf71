"""apps.py -- for sites that list multidb in INSTALLED_APPS."""
from django.apps import AppConfig


class MultidbConfig(AppConfig):
    name = "multidb"

    def ready(self):
        from pinroute.django.conf import conf
        conf()
