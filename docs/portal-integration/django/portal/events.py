"""Each handler runs in the transaction that records the event as received."""

from .models import ExternalPayment


def order_paid(event):
    payment = _payment(event)
    # A refund may be told first: after an outage, an operator can have older events sent again.
    if payment.status != "refunded":
        payment.pay()


def payment_refunded(event):
    _payment(event).refund()


def _payment(event):
    # An unknown payment is an exception: it may not be committed yet, and the event will be sent again.
    return ExternalPayment.objects.select_for_update().get(payment_id=event["data"]["paymentId"])
