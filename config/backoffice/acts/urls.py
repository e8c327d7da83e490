"""Addresses of the acts. Each asks for a member of staff, and a CSRF token to post."""

from django.contrib import admin
from django.urls import path

from config.backoffice.acts import views

urlpatterns = [
    path("", admin.site.admin_view(views.index), name="acts"),
    path("<slug:name>/", admin.site.admin_view(views.page), name="act"),
]
