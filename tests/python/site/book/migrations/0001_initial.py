"""0001_initial.py -- the table of posts."""
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel("Post", [
            ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ("text", models.CharField(db_index=True, max_length=200)),
            ("author", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE,
                                         to=settings.AUTH_USER_MODEL)),
        ]),
    ]
