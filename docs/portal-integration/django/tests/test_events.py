import base64
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from unittest import mock

from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory, TestCase, TransactionTestCase
from django.test.utils import override_settings
from standardwebhooks import Webhook

from payment_callback.models import ReceivedEvent
from payment_callback.views import BODY_BYTES_MAX, receive_event
from portal.events import order_paid
from portal.models import Enrolment, ExternalPayment, Order

NEW, OLD, UNKNOWN = ("whsec_" + base64.b64encode(32 * letter).decode() for letter in (b"n", b"o", b"u"))


class Failure(Exception):
    pass


def pay_slowly(event):
    order_paid(event)
    time.sleep(0.5)


def failing_at_first():
    """A handler that pays each time, and fails afterwards the first time."""
    failures = iter([Failure()])

    def pay_and_fail(event):
        failure = next(failures, None)
        pay_slowly(event)
        if failure:
            raise failure
    return pay_and_fail


def payment(payment_id="pay-1"):
    order, _ = Order.objects.get_or_create(number="order 7/ě")
    return ExternalPayment.objects.create(payment_id=payment_id, order=order)


def event(kind="order.paid", payment_id="pay-1"):
    return {
        "type": kind,
        "timestamp": "2026-11-25T12:00:00.000Z",
        "data": {
            "orderId": "order 7/ě",
            "paymentId": payment_id,
            "paymentMethod": "webpay",
            "amount": "29.00",
            "currency": "EUR",
            "paidAt": "2026-11-25T12:00:00.000Z",
        },
    }


def signature(body, webhook_id="1", secrets=(NEW,), age=timedelta()):
    """The headers with which the service signs."""
    now = datetime.now(timezone.utc) - age
    return {
        "HTTP_WEBHOOK_ID": webhook_id,
        "HTTP_WEBHOOK_TIMESTAMP": str(int(now.timestamp())),
        "HTTP_WEBHOOK_SIGNATURE": " ".join(Webhook(secret).sign(webhook_id, now, body) for secret in secrets),
    }


def post(body, headers):
    client = Client(enforce_csrf_checks=True, HTTP_HOST="127.0.0.1")
    return client.post("/payment-events", body, content_type="application/json", **headers).status_code


def send(event, *arguments, **options):
    body = json.dumps(event)
    return post(body, signature(body, *arguments, **options))


@override_settings(PORTAL_EVENTS_SECRET=NEW + " " + OLD)
class Events(TestCase):
    def setUp(self):
        payment()

    def assert_paid(self):
        self.assertEqual(Order.objects.get().status, "paid")
        self.assertEqual(Enrolment.objects.count(), 1)

    def assert_nothing_happened(self):
        self.assertFalse(ReceivedEvent.objects.exists())
        self.assertEqual(Order.objects.get().status, "open")
        self.assertFalse(Enrolment.objects.exists())

    def test_a_paid_order_is_fulfilled(self):
        self.assertEqual(send(event()), 204)
        self.assert_paid()
        self.assertEqual(ExternalPayment.objects.get().status, "completed")
        self.assertTrue(ReceivedEvent.objects.filter(webhook_id="1").exists())

    def test_a_repeated_event_has_no_effect(self):
        self.assertEqual([send(event()), send(event())], [204, 204])
        self.assert_paid()

    def test_events_are_told_apart_by_their_id(self):
        send(event())
        self.assertEqual(send(event("payment.refunded"), webhook_id="2"), 204)
        self.assertEqual(Order.objects.get().status, "refunded")
        self.assertFalse(Enrolment.objects.exists())

    def test_an_older_event_that_comes_after_a_refund_opens_no_course(self):
        send(event("payment.refunded"), webhook_id="2")
        self.assertEqual(send(event(), webhook_id="1"), 204)
        self.assertEqual(ExternalPayment.objects.get().status, "refunded")
        self.assertFalse(Enrolment.objects.exists())

    def test_a_refund_of_another_payment_leaves_the_order_paid(self):
        payment("pay-2")
        send(event())
        send(event("payment.refunded", "pay-2"), webhook_id="2")
        self.assert_paid()

    def test_an_event_that_no_handler_is_for_is_acknowledged(self):
        for kind in ("ping", "payment.unapplied", "of.the.future"):
            self.assertEqual(send(event(kind)), 204)
        self.assert_nothing_happened()

    def test_each_secret_is_accepted(self):
        for number, secrets in enumerate([(NEW,), (OLD,), (UNKNOWN, OLD), (OLD, NEW)]):
            self.assertEqual(send(event("payment.refunded"), str(number), secrets), 204)

    def test_another_secret_is_refused(self):
        self.assertEqual(send(event(), secrets=(UNKNOWN,)), 401)
        self.assert_nothing_happened()

    def test_without_a_secret_everything_is_refused(self):
        with override_settings(PORTAL_EVENTS_SECRET=""):
            self.assertEqual(send(event()), 401)
        self.assert_nothing_happened()

    def test_a_stale_or_early_timestamp_is_refused(self):
        self.assertEqual(send(event(), age=timedelta(minutes=6)), 401)
        self.assertEqual(send(event(), age=timedelta(minutes=-6)), 401)
        self.assert_nothing_happened()

    def test_missing_and_malformed_signatures_are_refused(self):
        self.assertEqual(post("{}", {}), 401)
        for text, status in [("", 401), ("v2,AAAA", 401), ("v1,AAAA", 401), ("v1", 400), ("v1,A", 400)]:
            self.assertEqual(post("{}", dict(signature("{}"), HTTP_WEBHOOK_SIGNATURE=text)), status)
        self.assert_nothing_happened()

    def test_what_is_no_event_is_refused(self):
        for body in ("", "{", "[]", "7", "{}", '{"type": []}'):
            self.assertEqual(post(body, signature(body)), 400, body)
        self.assertEqual(post(b"\xff", signature("")), 400)
        self.assert_nothing_happened()

    def test_a_large_body_is_refused(self):
        body = json.dumps(event()).ljust(BODY_BYTES_MAX)
        self.assertEqual(post(body + " ", signature(body + " ")), 413)
        self.assert_nothing_happened()
        self.assertEqual(post(body, signature(body)), 204)

    def test_only_posts_are_accepted(self):
        self.assertEqual(Client(HTTP_HOST="127.0.0.1").get("/payment-events").status_code, 405)

    def test_an_exception_of_the_handler_undoes_all_and_the_repetition_succeeds(self):
        with mock.patch("portal.events.order_paid", failing_at_first()):
            with self.assertRaises(Failure):
                send(event())
            self.assert_nothing_happened()
            self.assertEqual(send(event()), 204)
        self.assert_paid()

    def test_an_event_before_its_payment_succeeds_later(self):
        with self.assertRaises(ExternalPayment.DoesNotExist):
            send(event(payment_id="pay-2"))
        payment("pay-2")
        self.assertEqual(send(event(payment_id="pay-2")), 204)
        self.assert_paid()

    def test_the_migrations_are_those_of_the_models(self):
        call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@override_settings(PORTAL_EVENTS_SECRET=NEW)
class SimultaneousEvents(TransactionTestCase):
    def statuses(self, handler):
        """Those of two deliveries of one event at the same time, after which it must have been applied once."""
        payment()
        start = threading.Barrier(2)
        statuses = []
        body = json.dumps(event())

        def deliver():
            # Not through Client, which raises the exceptions of other threads too.
            request = RequestFactory().post("/", body, content_type="application/json", **signature(body))
            start.wait()
            try:
                statuses.append(receive_event(request).status_code)
            except Failure:
                statuses.append(500)
            finally:
                connection.close()

        with mock.patch("portal.events.order_paid", handler):
            threads = [threading.Thread(target=deliver) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(Enrolment.objects.count(), 1)
        self.assertEqual(ReceivedEvent.objects.count(), 1)
        return sorted(statuses)

    def test_two_deliveries_are_applied_once(self):
        self.assertEqual(self.statuses(pay_slowly), [204, 204])

    def test_if_the_first_of_two_fails_the_second_is_applied(self):
        self.assertEqual(self.statuses(failing_at_first()), [204, 500])
