"""Every error that a caller can meet: one tree, one stable code each.

    VoxtralError
    ├── InputError                      the caller can mend it (exit status 2)
    │   ├── InvalidJob                  invalid_input
    │   ├── SourceNotFound              source_not_found
    │   ├── SourceUnreadable            source_unreadable
    │   ├── OutputUnwritable            output_unwritable
    │   ├── FetchError
    │   │   ├── FetchRefused            fetch_refused
    │   │   ├── FetchRejected           fetch_rejected
    │   │   ├── FetchNotAudio           fetch_not_audio
    │   │   ├── FetchTimeout            fetch_timeout         (a retry may help)
    │   │   └── FetchFailed             fetch_failed          (a retry may help)
    │   ├── AudioError
    │   │   ├── AudioEmpty              audio_empty
    │   │   ├── AudioUnreadable         audio_unreadable
    │   │   ├── AudioMissing            audio_missing
    │   │   ├── AudioParameters         audio_parameters
    │   │   ├── AudioTooLong            audio_too_long
    │   │   └── AudioTooLarge           audio_too_large
    │   ├── LanguageNotSupported        language_not_supported
    │   ├── DeploymentInvalid           deployment_invalid
    │   ├── DeploymentUnconfirmed       deployment_unconfirmed
    │   ├── RunPodKeyRefused            runpod_key_refused
    │   ├── AccessRefused               access_refused
    │   ├── KeyRefused                  key_refused
    │   ├── JobNotFound                 job_not_found
    │   ├── BodyTooLarge                body_too_large
    │   └── QueueFull                   queue_full            (a retry may help)
    └── ServiceError                    we, or the machine, are at fault (exit status 1)
        ├── InvalidConfiguration        invalid_configuration
        ├── EngineUnavailable           engine_unavailable
        ├── ModelUnavailable            model_unavailable
        ├── KillsEngine                 kills_engine
        ├── AnswerUnusable              answer_unusable
        ├── DeadlineExceeded            deadline_exceeded
        ├── ResultTooLarge              result_too_large
        ├── StageFailed                 stage_failed          (a retry may help)
        ├── DiskFull                    disk_full             (a retry may help)
        ├── RunPodUnreachable           runpod_unreachable    (a retry may help)
        ├── RunPodRefused               runpod_refused
        └── InternalError               internal_error

A message is a sentence for the caller that says what to do. It never holds a traceback, a path of the
worker, a token or the query of a URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Notice:
    """A warning of a job that went on: what is missing or doubtful in its answer, and why."""

    code: str
    message: str


class VoxtralError(Exception):
    """An error with a stable `code`, told to the caller as `code: message`."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def notice(self) -> Notice:
        """The error as a warning, where the job goes on without what failed."""
        return Notice(self.code, self.message)


class InputError(VoxtralError):
    """The job or its recording is at fault."""

    exit_status = 2


class InvalidJob(InputError):
    """The job does not follow the contract; the message lists every fault at once."""

    code = "invalid_input"


class SourceNotFound(InputError):
    """The file named on the command line does not exist."""

    code = "source_not_found"


class SourceUnreadable(InputError):
    """The file named on the command line is a folder, or may not be read."""

    code = "source_unreadable"


class OutputUnwritable(InputError):
    """The place that the command line names for the answer cannot be written."""

    code = "output_unwritable"


class FetchError(InputError):
    """The recording could not be fetched."""


class FetchRefused(FetchError):
    """The URL leads to an address that this worker does not connect to."""

    code = "fetch_refused"


class FetchRejected(FetchError):
    """The server answered, with a status that is final."""

    code = "fetch_rejected"


class FetchNotAudio(FetchError):
    """The server answered with something that is no recording, a web page for one."""

    code = "fetch_not_audio"


class FetchTimeout(FetchError):
    """The server did not deliver in time."""

    code = "fetch_timeout"
    retryable = True


class FetchFailed(FetchError):
    """The connection could not be made, or broke."""

    code = "fetch_failed"
    retryable = True


class AudioError(InputError):
    """The recording itself is at fault."""


class AudioEmpty(AudioError):
    """No byte, or no sample, is in it."""

    code = "audio_empty"


class AudioUnreadable(AudioError):
    """It is not a recording in a format that we read, or too damaged to read."""

    code = "audio_unreadable"


class AudioMissing(AudioError):
    """A media file without an audio stream."""

    code = "audio_missing"


class AudioParameters(AudioError):
    """The sample rate or the number of channels is outside what speech is recorded with."""

    code = "audio_parameters"


class AudioTooLong(AudioError):
    """It lasts longer than `MAX_DURATION_S`."""

    code = "audio_too_long"


class AudioTooLarge(AudioError):
    """It has more bytes than `MAX_AUDIO_MB`."""

    code = "audio_too_large"


class LanguageNotSupported(InputError):
    """The engine cannot transcribe, or read, the language of the job."""

    code = "language_not_supported"


class DeploymentInvalid(InputError):
    """The flags or the file of `deploy` are wrong; the message lists every fault at once."""

    code = "deployment_invalid"


class DeploymentUnconfirmed(InputError):
    """What `deploy` would change is there already, and nobody said that it may."""

    code = "deployment_unconfirmed"


class RunPodKeyRefused(InputError):
    """RunPod's API needs a key, or does not take the one that it got."""

    code = "runpod_key_refused"


class KeyRefused(InputError):
    """The HTTP API needs its key, or got another one."""

    code = "key_refused"


class AccessRefused(InputError):
    """The HTTP API does not answer to this host name, or to a web page of another site."""

    code = "access_refused"


class JobNotFound(InputError):
    """The HTTP API has no job of that id, or not any more."""

    code = "job_not_found"


class BodyTooLarge(InputError):
    """A request brings more bytes than the HTTP API takes."""

    code = "body_too_large"


class QueueFull(InputError):
    """The HTTP API has as many jobs waiting as it takes."""

    code = "queue_full"
    retryable = True


class ServiceError(VoxtralError):
    """The worker or its machine is at fault."""


class InvalidConfiguration(ServiceError):
    """A setting is wrong; the message names it."""

    code = "invalid_configuration"


class EngineUnavailable(ServiceError):
    """The engine that was asked for is not there, cannot be started, or died too often.

    Attributes:
        details: The end of the engine's log, for who runs the worker; never for the caller.
    """

    code = "engine_unavailable"

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ModelUnavailable(ServiceError):
    """The model's weights cannot be had, or are damaged."""

    code = "model_unavailable"


class KillsEngine(ServiceError):
    """The engine died over a request twice: it is not asked again."""

    code = "kills_engine"


class AnswerUnusable(ServiceError):
    """What the model answers about a conversation makes no sense: it is null, and the transcript is not touched."""

    code = "answer_unusable"


class DeadlineExceeded(ServiceError):
    """The job's time was over before anything of its answer was there."""

    code = "deadline_exceeded"


class ResultTooLarge(ServiceError):
    """The answer is larger than can be delivered, whatever is left out of it."""

    code = "result_too_large"


class StageFailed(ServiceError):
    """A stage of the job died; the job goes on without it where it can."""

    code = "stage_failed"
    retryable = True


class DiskFull(ServiceError):
    """The temporary folder has no room for the recording."""

    code = "disk_full"
    retryable = True


class RunPodUnreachable(ServiceError):
    """RunPod's API does not answer, or not with what it should."""

    code = "runpod_unreachable"
    retryable = True


class RunPodRefused(ServiceError):
    """RunPod's API answered that it does not do what was asked; the message has its reason."""

    code = "runpod_refused"


class InternalError(ServiceError):
    """A defect of ours. The log has the details, the caller only this."""

    code = "internal_error"


def public_error(error: BaseException) -> VoxtralError:
    """Whatever was raised, as an error that may be shown: our own as they are, the rest as `internal_error`."""
    if isinstance(error, VoxtralError):
        return error
    return InternalError("the worker failed unexpectedly; its log has the details.")
