from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=255, unique=True)
    status = models.CharField(max_length=16, default="open")

    def pay(self):
        self.status = "paid"
        self.save()
        self.enrolments.create()

    def refund(self):
        self.status = "refunded"
        self.save()
        self.enrolments.all().delete()


class Enrolment(models.Model):
    """Opens the course to the customer."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="enrolments")


class ExternalPayment(models.Model):
    payment_id = models.CharField(max_length=255, unique=True)
    order = models.ForeignKey(Order, models.PROTECT, related_name="payments")
    status = models.CharField(max_length=16, default="open")

    def pay(self):
        self.status = "completed"
        self.save()
        self.order.pay()

    def refund(self):
        was_completed = self.status == "completed"
        self.status = "refunded"
        self.save()
        if was_completed:
            self.order.refund()
