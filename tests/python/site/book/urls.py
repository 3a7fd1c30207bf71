"""urls.py -- where the views are."""
from django.urls import path

from book import views

urlpatterns = [
    path("join", views.join),
    path("sign", views.sign),
    path("sign-in-a-transaction", views.sign_in_a_transaction),
    path("sign-and-fail", views.sign_and_fail),
    path("sign-by-link", views.sign_by_link),
    path("seen", views.seen),
    path("ping", views.ping),
]
