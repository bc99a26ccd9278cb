"""Checks of the HTTP API: who could use it, and whether it has a place for its jobs."""

from __future__ import annotations

import os

from voxtral_serverless.doctor.findings import Finding, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.errors import InvalidConfiguration


def api_check(situation: Situation) -> Finding:
    """Whether it would start, and who could use it then."""
    if situation.in_runpod:
        return skipped("not run by a worker of a RunPod endpoint.")
    from voxtral_serverless.http_api.access import check_exposure
    from voxtral_serverless.http_api.store import data_folder

    warned: list[str] = []
    try:
        check_exposure(situation.settings, warned.append)
    except InvalidConfiguration as error:
        return problem("it would not start.", error.message)
    folder = data_folder(situation.settings)
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        return problem("its folder cannot be written.", "Set DATA_DIR to one that can.").with_details(str(folder))
    if situation.settings.engine == "auto" and not situation.served:
        return warning("it would do no job: ENGINE=auto does not mean the self-test engine there.", "Name the ENGINE.")
    if warned:
        return warning("it answers everybody who reaches its port.", warned[0]).with_details(str(folder))
    how = "with the key" if situation.settings.api_key else "for this machine alone"
    return ok(f"answers on {situation.settings.host}, {how}.").with_details(str(folder))
