import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.CharField(max_length=255, unique=True)),
                ("status", models.CharField(default="open", max_length=16)),
            ],
        ),
        migrations.CreateModel(
            name="Enrolment",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("order", models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE, related_name="enrolments", to="portal.Order")),
            ],
        ),
        migrations.CreateModel(
            name="ExternalPayment",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("payment_id", models.CharField(max_length=255, unique=True)),
                ("status", models.CharField(default="open", max_length=16)),
                ("order", models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT, related_name="payments", to="portal.Order")),
            ],
        ),
    ]
