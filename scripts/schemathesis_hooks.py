"""What the description says in words only, for schemathesis to know what is a valid request."""

from copy import deepcopy

import schemathesis

MISMATCHES = {"order_mismatch", "amount_mismatch", "currency_mismatch"}

# What scripts/check-interface has registered. Every currency has room for such an amount.
PAYMENT_ID = "5f0c2d9e-7c1a-4a53-9d0e-2b6f7a1c8e44"
ORDER_ID = "marathon:22855c43-0a4e-4c8e-9b7e-0f3a5f0c9d11:1767322800123"
AMOUNT = 29


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and is_valid(case):
        case.body = in_agreement(deepcopy(case.body))


@schemathesis.check
def valid_callbacks_are_understood(ctx, response, case):
    if case.path == "/api/payments/webhook" and is_valid(case) and response.status_code == 400:
        assert response.json()["code"] in MISMATCHES, "a valid callback was refused for what it says"


def is_valid(case):
    return case.meta is None or case.meta.generation.mode.is_positive


def in_agreement(body):
    """The same with fields that agree with each other."""
    # event: equal to status (or a partial refund).
    if "status" in body and body.get("event") != "refunded":
        body["event"] = body["status"]
    elif "event" in body:
        body["status"] = "completed"
    # paymentId: another name for externalPaymentId.
    if body.get("externalPaymentId") and body.get("paymentId"):
        body["paymentId"] = body["externalPaymentId"]
    # What is reported must be what is registered; of one payment, it is known what that is.
    if body.get("paymentId") == PAYMENT_ID:
        body["orderId"] = ORDER_ID
        if body.get("currency") is not None:
            body["currency"] = "EUR"
    # amount: no more digits and decimals than its currency has.
    if isinstance(body.get("amount"), str):
        body["amount"] = str(AMOUNT)
    elif body.get("amount") is not None:
        body["amount"] = AMOUNT
    return body
