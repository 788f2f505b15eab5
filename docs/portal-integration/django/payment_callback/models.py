from django.db import models


class ReceivedEvent(models.Model):
    """An event whose effect is committed, so that its repetition has none."""

    webhook_id = models.CharField(max_length=64, primary_key=True)
    received_at = models.DateTimeField(auto_now_add=True)
