from payment_callback.views import receive_event

try:
    from django.urls import re_path as url
except ImportError:  # Django 1.11
    from django.conf.urls import url

urlpatterns = [
    url(r"^payment-events$", receive_event),
]
