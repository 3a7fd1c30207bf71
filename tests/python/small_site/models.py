"""models.py -- something to write to each cluster."""
from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=50)


class Figure(models.Model):
    value = models.IntegerField()

    class Meta:
        app_label = "reports"
