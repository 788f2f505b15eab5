import os
from urllib.parse import unquote, urlsplit

os.environ.setdefault("PORTAL_EVENTS_SECRET", "")

from portal.settings import *  # noqa: E402,F403
from portal.settings import MIDDLEWARE  # noqa: E402

MIDDLEWARE = ["tests.crash.crash_after_commit"] + MIDDLEWARE

if "TEST_DATABASE_URL" in os.environ:
    url = urlsplit(os.environ["TEST_DATABASE_URL"])
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": unquote(url.password or ""),
        "NAME": url.path[1:],
        "TEST": {"NAME": "check_portal_{}".format(os.getpid())},
    }}
else:
    directory = os.environ["TEST_DIRECTORY"]
    # Tests with threads need a file: a database in memory is locked as a whole.
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(directory, "portal.sqlite3"),
        "TEST": {"NAME": os.path.join(directory, "test.sqlite3")},
    }}
