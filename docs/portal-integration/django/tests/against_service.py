"""The example portal against the real service, each a process of its own. scripts/check-portal runs this."""

import atexit
import base64
import importlib
import os
import random
import re
import socket
import subprocess
import sys
import time
import unittest
import uuid
from decimal import Decimal

import django
import requests
from django.core.management import call_command

django.setup()

from payment_callback.models import ReceivedEvent  # noqa: E402
from portal.models import Enrolment, ExternalPayment, Order  # noqa: E402

DIRECTORY = os.environ["TEST_DIRECTORY"]
KEY = "the-key-of-the-check"
SECRET, OTHER_SECRET = ("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2))


def setUpModule():
    global service
    call_command("migrate", verbosity=0)
    service = Service()


def tearDownModule():
    service.stop()


def wait_until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come true within 30 s")


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    # Below 32768 no outgoing connection takes it meanwhile.
    return next(port for port in iter(lambda: random.randrange(20000, 32000), None) if not answers(port))


class Process:
    def __init__(self, log, arguments, **options):
        self.log = os.path.join(DIRECTORY, log)
        with open(self.log, "a") as file:
            self.process = subprocess.Popen(arguments, stdout=file, stderr=subprocess.STDOUT, **options)
        atexit.register(self.process.kill)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


class Portal(Process):
    port = free_port()
    url = "http://127.0.0.1:{}/payment-events".format(port)

    def __init__(self, secret=SECRET, **variables):
        arguments = [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)]
        environment = dict(os.environ, PORTAL_EVENTS_SECRET=secret, **variables)
        super().__init__("portal.log", arguments, env=environment)
        wait_until(lambda: answers(self.port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Service(Process):
    program = os.environ["PAYMENT_CALLBACK"]
    environment = {
        "BIND_ADDRESS": "127.0.0.1:0",
        "DATABASE_URL": "sqlite://" + os.path.join(DIRECTORY, "service.sqlite3"),
        "PAYMENT_API_KEY": KEY,
        "PORTAL_API_KEY": KEY,
        "OPERATOR_API_KEY": KEY,
        "PORTAL_EVENTS_URL": Portal.url,
        "PORTAL_EVENTS_SECRET": SECRET,
        "PORTAL_EVENTS_RETRY_S": ",".join(["1"] * 30),
    }

    def __init__(self):
        super().__init__("service.log", [self.program, "serve"], env=self.environment, cwd=DIRECTORY)
        wait_until(self._is_listening)
        os.environ.update(PAYMENT_CALLBACK_URL=self.url, PORTAL_API_KEY=KEY)
        self.client = importlib.import_module("payment_callback.client")

    def _is_listening(self):
        with open(self.log) as log:
            listening = re.search(r'"listening".*"address":"([^"]*)"', log.read())
        if listening:
            self.url = "http://" + listening.group(1)
        return listening

    def call(self, method, path, **arguments):
        return requests.request(method, self.url + path, headers={"X-API-Key": KEY}, timeout=10, **arguments).json()

    def ping_portal(self):
        return subprocess.call(
            [self.program, "ping-portal"], env=self.environment, cwd=DIRECTORY, stdout=subprocess.DEVNULL)


class Payment:
    """A payment of 29 EUR and its order."""

    def __init__(self):
        self.payment_id = str(uuid.uuid4())
        self.order_id = "order 7/ě " + self.payment_id

    def create_in_portal(self):
        order = Order.objects.create(number=self.order_id)
        ExternalPayment.objects.create(payment_id=self.payment_id, order=order)

    def register(self):
        return service.client.register(self.payment_id, self.order_id, Decimal("29.00"), "EUR", "webpay")

    def call_back(self):
        return service.call("POST", "/api/payments/webhook", json={
            "paymentId": self.payment_id,
            "orderId": self.order_id,
            "status": "completed",
            "event": "completed",
            "paymentMethod": "webpay",
            "timestamp": "2026-11-25T12:00:00Z",
        })

    def event(self):
        """The only event of the order."""
        event, = service.call("GET", "/api/events", params={"order": self.order_id})["events"]
        return event

    def attempts(self):
        """The status of each answer of the portal, from the first to the last; None is no answer."""
        history = service.call("GET", "/api/events/{}".format(self.event()["eventId"]))["history"]
        return [attempt["status"] for attempt in reversed(history)]

    def is_delivered(self):
        return self.event()["state"] == "delivered"


class ThePortal(unittest.TestCase):
    def setUp(self):
        self.payment = Payment()

    def assert_paid_once(self):
        order = Order.objects.get(number=self.payment.order_id)
        self.assertEqual(order.status, "paid")
        self.assertEqual(order.enrolments.count(), 1)
        self.assertEqual(ReceivedEvent.objects.filter(webhook_id=self.payment.event()["eventId"]).count(), 1)

    def test_fulfils_a_paid_order(self):
        self.payment.create_in_portal()
        self.payment.register()
        with Portal():
            self.assertEqual(self.payment.call_back()["outcome"], "completed")
            wait_until(self.payment.is_delivered)
        self.assertEqual(self.payment.attempts(), [204])
        self.assert_paid_once()

    def test_fulfils_an_order_once_whatever_is_repeated(self):
        self.payment.create_in_portal()
        self.payment.register()
        with Portal():
            self.payment.call_back()
            wait_until(self.payment.is_delivered)
            self.assertEqual(self.payment.call_back()["outcome"], "duplicate")
            service.call("POST", "/api/events/{}/redeliver".format(self.payment.event()["eventId"]))
            wait_until(lambda: self.payment.attempts() == [204, 204])
        self.assert_paid_once()

    def test_fulfils_an_order_whose_callback_came_before_the_registration(self):
        self.payment.create_in_portal()
        with Portal():
            self.assertTrue(self.payment.call_back()["parked"])
            self.assertEqual(self.payment.register()["applied"], ["completed"])
            wait_until(self.payment.is_delivered)
        self.assertEqual(service.client.order(self.payment.order_id)["order"]["status"], "paid")
        self.assert_paid_once()

    def test_hears_again_of_a_payment_that_it_stored_too_late(self):
        self.payment.register()
        with Portal():
            self.payment.call_back()
            wait_until(self.payment.attempts)
            self.payment.create_in_portal()
            wait_until(self.payment.is_delivered)
        self.assertEqual((self.payment.attempts()[0], self.payment.attempts()[-1]), (500, 204))
        self.assert_paid_once()

    def test_refuses_another_secret_until_it_is_mended(self):
        self.payment.create_in_portal()
        self.payment.register()
        with Portal(OTHER_SECRET):
            self.payment.call_back()
            wait_until(self.payment.attempts)
        self.assertEqual(self.payment.attempts()[0], 401)
        self.assertFalse(ReceivedEvent.objects.filter(webhook_id=self.payment.event()["eventId"]).exists())
        self.assertFalse(Enrolment.objects.filter(order__number=self.payment.order_id).exists())
        with Portal("{} {}".format(OTHER_SECRET, SECRET)):
            wait_until(self.payment.is_delivered)
        self.assert_paid_once()

    def test_fulfils_an_order_once_though_it_crashes_before_its_answer(self):
        self.payment.create_in_portal()
        self.payment.register()
        with Portal(CRASH_AFTER_COMMIT="yes") as portal:
            self.payment.call_back()
            self.assertEqual(portal.process.wait(timeout=30), 1)
        self.assert_paid_once()
        self.assertFalse(self.payment.is_delivered())
        with Portal():
            wait_until(self.payment.is_delivered)
        self.assertIsNone(self.payment.attempts()[0])
        self.assert_paid_once()

    def test_takes_a_ping(self):
        with Portal():
            self.assertEqual(service.ping_portal(), 0)
        with Portal(OTHER_SECRET):
            self.assertEqual(service.ping_portal(), 1)


if __name__ == "__main__":
    unittest.main()
