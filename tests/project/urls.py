from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from tests.project import views
from wsadapter.views import ready

urlpatterns = [
    path("admin/", admin.site.urls),
    path("pid/", views.pid),
    path("ready/", ready),
    path("login/", views.log_in),
    path("logout/", views.log_out),
    path("send/<str:target>/", views.send),
    path("asend/<str:target>/", views.asend),
    path("transaction/<str:outcome>/<str:target>/", views.send_in_transaction),
    path("disconnect/user/<str:user>/", views.disconnect_user),
    path("disconnect/client/<str:client_id>/", views.disconnect_client),
    path("counts/", views.counts),
    path("acounts/", views.acounts),
    path("online/", views.online),
    path("ws/", include("wsadapter.urls")),
]
