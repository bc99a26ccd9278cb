import re

from voxtral_serverless import errors
from voxtral_serverless.errors import InternalError, Notice, VoxtralError, public_error


def leaves(error: type[VoxtralError]) -> list[type[VoxtralError]]:
    below = [leaf for child in error.__subclasses__() for leaf in leaves(child)]
    return below or [error]


def test_codes_are_stable_unique_and_in_the_table() -> None:
    table = dict(re.findall(r"── (\w+) +([a-z]+_[a-z_]+)", errors.__doc__ or ""))
    assert {leaf.__name__: leaf.code for leaf in leaves(VoxtralError)} == table
    assert len(set(table.values())) == len(table)


def test_exit_status_says_whose_fault_it_is() -> None:
    for leaf in leaves(VoxtralError):
        assert leaf.exit_status == (2 if issubclass(leaf, errors.InputError) else 1)


def test_error_is_shown_as_code_and_message() -> None:
    assert str(errors.AudioEmpty("nothing in it.")) == "audio_empty: nothing in it."
    assert errors.AudioEmpty("nothing in it.").notice() == Notice("audio_empty", "nothing in it.")


def test_unexpected_errors_tell_nothing() -> None:
    shown = public_error(RuntimeError("/secret/path token=hf_abc"))
    assert isinstance(shown, InternalError)
    assert "secret" not in str(shown)
    own = errors.AudioEmpty("x")
    assert public_error(own) is own
