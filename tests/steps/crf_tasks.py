"""A task that a worker process imports in the tests of `apply_crf`."""

import os

from semples_cli.steps.crf_item import refine_item


def die_on_b(job):
    if job.id == "b":
        os._exit(1)
    return refine_item(job)
