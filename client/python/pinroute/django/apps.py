"""apps.py -- for INSTALLED_APPS, which is optional: checks the settings at start, and has tests mirror the replicas."""
from django.apps import AppConfig


class PinrouteConfig(AppConfig):
    name = "pinroute.django"
    label = "pinroute"

    def ready(self):
        from .conf import conf
        conf()
