import os

SECRET_KEY = "only for this example"
ALLOWED_HOSTS = ["127.0.0.1"]  # the host of PORTAL_EVENTS_URL
INSTALLED_APPS = ["payment_callback", "portal"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "portal.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "portal.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True

# As the service has it; several are separated by spaces.
PORTAL_EVENTS_SECRET = os.environ["PORTAL_EVENTS_SECRET"]
# Events of other types are acknowledged and ignored.
PORTAL_EVENTS_HANDLERS = {
    "order.paid": "portal.events.order_paid",
    "payment.refunded": "portal.events.payment_refunded",
}
