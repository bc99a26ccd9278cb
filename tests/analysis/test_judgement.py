from voxtral_serverless.analysis.judgement import Judgement

JUDGEMENT = Judgement("négatif", 0.756, ("colère", "frustration"), "insatisfait")


def test_labels_are_french_by_default() -> None:
    assert JUDGEMENT.as_answer("fr").model_dump() == {
        "sentiment": "négatif", "score": 0.76, "emotions": ["colère", "frustration"],
        "satisfaction_client": "insatisfait",
    }  # fmt: skip


def test_labels_in_english() -> None:
    assert JUDGEMENT.as_answer("en").model_dump() == {
        "sentiment": "negative", "score": 0.76, "emotions": ["anger", "frustration"],
        "satisfaction_client": "dissatisfied",
    }  # fmt: skip


def test_no_customer_is_null() -> None:
    assert Judgement("neutre", 1, (), None).as_answer("fr").satisfaction_client is None
