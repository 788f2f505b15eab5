from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook, WebhookVerificationError

from .models import ReceivedEvent

BODY_BYTES_MAX = 65536


@csrf_exempt
@require_POST
def receive_event(request):
    """Calls the event's handler once, and answers 2xx when that is committed. Any other answer has it sent again."""
    body = request.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        return HttpResponse(status=413)
    webhook_id = request.META.get("HTTP_WEBHOOK_ID", "")
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": request.META.get("HTTP_WEBHOOK_TIMESTAMP", ""),
        "webhook-signature": request.META.get("HTTP_WEBHOOK_SIGNATURE", ""),
    }
    webhooks = [Webhook(secret) for secret in settings.PORTAL_EVENTS_SECRET.split()]
    try:
        event = _verify(webhooks, body, headers)
        handler = settings.PORTAL_EVENTS_HANDLERS.get(event["type"])
    except WebhookVerificationError:
        return HttpResponse(status=401)
    except (KeyError, TypeError, ValueError):
        return HttpResponse(status=400)
    if handler is not None:
        _handle_once(webhook_id, import_string(handler), event)
    return HttpResponse(status=204)


def _verify(webhooks, body, headers):
    for webhook in webhooks:
        try:
            return webhook.verify(body, headers)
        except WebhookVerificationError:
            pass
    raise WebhookVerificationError("no secret verifies the signature")


def _handle_once(webhook_id, handler, event):
    with transaction.atomic():
        # First, so that a second delivery at the same time waits here until this transaction ends.
        try:
            with transaction.atomic():
                ReceivedEvent.objects.create(webhook_id=webhook_id)
        except IntegrityError:
            return
        handler(event)
