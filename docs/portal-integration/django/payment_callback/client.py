import os
import time
from urllib.parse import quote

import requests

BASE_URL = os.environ.get("PAYMENT_CALLBACK_URL", "http://127.0.0.1:8080")

_session = requests.Session()
_session.headers["X-API-Key"] = os.environ["PORTAL_API_KEY"]


class Refused(Exception):
    """The service said no; `code` says why."""

    def __init__(self, status, code, detail, request_id):
        super().__init__("{}: {} (request {})".format(code, detail, request_id))
        self.status, self.code = status, code


def register(payment_id, order_id, amount, currency, method, **optional):
    """Registers a payment that payments-microservice has made. Repeating it changes nothing."""
    body = dict(optional, externalPaymentId=payment_id, orderId=order_id, amount="{:f}".format(amount),
                currency=currency, paymentMethod=method)
    return _call("POST", "/api/payments", json=body)


def order(order_id):
    """The order and all its payments; None if no payment of it was ever registered."""
    try:
        return _call("GET", "/api/orders/" + quote(order_id, safe=""))
    except Refused as refused:
        if refused.code == "not_found":
            return None
        raise


def cancel(order_id):
    """Cancels an order that is not paid. Repeating it changes nothing."""
    return _call("POST", "/api/orders/" + quote(order_id, safe="") + "/cancel")


def _call(method, path, **arguments):
    # Every call may be repeated: after 1, 2 and 4 seconds, where no answer or a 503 came.
    for pause_s in (1, 2, 4, None):
        try:
            response = _session.request(method, BASE_URL + path, timeout=(2, 10), **arguments)
            if response.status_code != 503 or pause_s is None:
                break
        except (requests.ConnectionError, requests.Timeout):
            if pause_s is None:
                raise
        time.sleep(pause_s)
    document = response.json()
    if response.ok:
        return document
    raise Refused(response.status_code, document["code"], document["detail"], document["requestId"])
