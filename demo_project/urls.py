"""The HTTP routes: the pages, the admin, logging in, the status, and one route per button."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from demo_project.buttons import BUTTONS
from demo_project.chat.views import chat
from demo_project.views import conversation, page, status

urlpatterns = [
    path("", page, name="page"),
    path("conversation/", conversation, name="conversation"),
    path("chat/", chat, name="chat"),
    path("status/", status, name="status"),
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="demo/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    *(path(f"do/{b.name}/", b.view, name=b.name) for b in BUTTONS if b.view is not None),
    *staticfiles_urlpatterns(),  # uvicorn, unlike runserver, does not serve them by itself
]
