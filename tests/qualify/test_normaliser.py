"""What counts as the same word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.qualify.normaliser import normalised


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("J'ai 20 ans, euh… est-ce que l\u2019eau [rires] coûte 23,50 € ?", "fr", "j ai vingt ans est ce que l eau coûte vingt trois euros cinquante"),
        ("Le 15, j\u2019écoute", "fr", "le quinze j écoute"),
        ("Hum, heu, mm-hm, m'appelle <unk> (toux)", "fr-FR", "m appelle"),
        ("Uh, it's um 5 kg {noise} (555) OK?", "en", "it s five kilos five hundred fifty five ok"),
        ("vous r- vous rest-, « d'hab- » vous re\u2011… restez-", "fr", "vous vous vous"),
        ("rendez-vous, dit-il - et porte-mon- 20- oui -- non-- n", "fr", "rendez vous dit il et vingt oui non n"),
        ("um homem", "pt", "um homem"),
        ("20 ans", None, "20 ans"),
        ("ÉTÉ\u00a0CŒUR, Lætitia", "fr", "été coeur laetitia"),
        ("", "fr", ""),
    ],
)  # fmt: skip
def test_normal_texts(text: str, language: str | None, normal: str) -> None:
    assert normalised(text, language) == normal


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("fr", "12 000 euros | 12\u202f000 € | 12000 euros | douze mille euros"),
        ("fr", "2 000 000 € | 2 M€ | 2 000 000 euros | deux millions d\u2019euros"),
        ("fr", "15 h 00 | 15h00 | 15h | 15:00 | 15 heures | 15 heures 00 | quinze heures"),
        ("fr", "20h05 | 20 heures 05 | vingt heures cinq"),
        ("fr", "M. Dupont | monsieur Dupont | Mr Dupont | Mr. Dupont"),
        ("fr", "M. le maire, M. et Mme A | monsieur le maire, monsieur et madame A"),
        ("fr", "MM. et Mmes, MM. les jurés | messieurs et mesdames, messieurs les jurés"),
        ("fr", "MM. Durand, mm | messieurs Durand"),
        ("fr", "Mme A, Mlle B, Dr C, Dr. C | madame A, mademoiselle B, docteur C, docteur C"),
        ("fr", "Pr Martin et Me. Roux | professeur Martin et maître Roux"),
        ("fr", "Me Roux me voit | maitre Roux me voit"),
        ("fr", "St-Denis, Ste Anne | Saint-Denis, sainte Anne"),
        ("fr", "un RDV, bd Foch, SVP, tél. 15 | un rendez-vous, boulevard Foch, s'il vous plait, téléphone quinze"),
        ("fr", "etc. | et cetera | et cætera"),
        ("fr", "P. ex. lui, c.-à-d. toi | par exemple lui, c'est-à-dire toi"),
        ("en", "Mr. Day, Mrs. Day, Dr. Day, St. Mary | mister Day, missus Day, doctor Day, saint Mary"),
        ("fr", "23,50 euros | 23,50 € | 23 € 50 | 23€50 | 23 euros 50 | 23 euros et 50 centimes | vingt-trois euros et cinquante centimes"),
        ("fr", "12 000,05 € | 12 000 euros 05 | douze mille euros et cinq centimes"),
        ("fr", "10 kWh, 5 Go, 37,5 °C, 37,5\u2103 | dix kilowattheures, cinq gigaoctets, 37,5 degrés, 37,5 degrés"),
        ("en", "5 MB and 5 M€ | five megabytes and five million euros"),
        ("en", "5 p.m. | 5pm | 5 PM | five pm"),
        ("fr", "48h, 72 h, 48h30 | quarante-huit heures, soixante-douze heures, 48 heures 30"),
        ("fr", "500 mg, 2 ml, 1 L, 1 g | cinq cents milligrammes, deux millilitres, un litre, un gramme"),
        ("fr", "30 s, 5 mn, 1 h, 21 min | trente secondes, cinq minutes, une heure, vingt et une minutes"),
        ("fr", "5mn30, 1 h 30 min, 2h05mn | cinq minutes trente, une heure trente minutes, deux heures cinq minutes"),
        ("fr", "1m70 | 1 m 70 | 1,70 m | un mètre soixante-dix"),
        ("fr", "5 % | 5 pourcent | cinq pour cent"),
        ("fr", "80 kg | 80 kilogrammes | quatre-vingt kilos"),
        ("en", "80 kg | eighty kilograms"),
        ("fr", "allo, s'il te plait, maitre, okay | allô, s'il te plaît, maître, O.K."),
        ("en", "okay | OK | o.k. | O.K"),
        ("fr", "le S.A.M.U. | le SAMU | le samu"),
        ("fr", "80 ans | quatre-vingt ans | quatre-vingts ans"),
        ("fr", "200 | deux cent | deux cents"),
        ("fr", "n° 12 | N°12 | no 12 | n\u00ba 12 | numéro 12"),
        ("fr", "21 minutes | vingt-et-une minutes"),
        ("hi", "20 रुपये | बीस रुपये"),
    ],
)  # fmt: skip
def test_what_is_written_in_several_ways_is_one(language: str, written: str) -> None:
    first, *others = written.split(" | ")
    one = normalised(first, language)
    assert {other: normalised(other, language) for other in others} == dict.fromkeys(others, one)
    assert not re.search(r"\d", one)


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("Il me. Voit-il le plan M ?", "fr", "il me voit il le plan m"),
        ("mm. Oui. Mm. Non", "fr", "oui non"),
        ("les 3 l'ont dit, 3 s\u2019en vont", "fr", "les trois l ont dit trois s en vont"),
        ("3 euros et deux amis ; 5 euros 06 12 34 56 78", "fr", "trois euros et deux amis cinq euros zéro six douze trente quatre cinquante six soixante dix huit"),
        ("zéro, 0, 007, la 5G", "fr", "zéro zéro zéro zéro sept la cinq g"),
        ("12 000 M. A5 S.A.M.U.", None, "12 000 m a5 samu"),
        ("um, no 12", "en", "no twelve"),
    ],
)  # fmt: skip
def test_what_looks_alike_is_left_alone(text: str, language: str | None, normal: str) -> None:
    assert normalised(text, language) == normal


@given(st.text(), st.sampled_from(["fr", "en", "de", None]))
def test_what_is_normal_stays_as_it_is(text: str, language: str | None) -> None:
    once = normalised(text, language)
    assert normalised(once, language) == once


PARTS = [
    "0", "00", "000", "05", "1", "12", "21", "80", "200", "12,50", "1m70", "48h", "15h00", ":", ",", ".", "-", "'", "(",
    "€", "%", "°C", "M", "M.", "MM.", "Me", "Pr.", "St.", "Dupont", "le", "l'", "n°", "no", "Dr", "etc.", "c.-à-d.",
    "a.b.", "œ", "mg", "g", "L", "h", "M€", "kWh", "euro", "euros", "et", "centimes", "cinquante", "un", "une",
    "vingts", "cents", "euh", "mm", "r-", "allo", "okay", "pourcent", "millions", "d'",
]  # fmt: skip


@given(
    st.lists(st.sampled_from([*PARTS, "\u00a0"])), st.sampled_from(["", " "]), st.sampled_from(["fr", "en", "de", None])
)
def test_numbers_and_titles_that_are_normal_stay_so(parts: list[str], between: str, language: str | None) -> None:
    once = normalised(between.join(parts), language)
    assert normalised(once, language) == once


@given(st.text("0123456789 ,.h€%", max_size=20))
def test_no_digit_is_left_where_the_language_is_known(text: str) -> None:
    assert not re.search(r"\d", normalised(text, "fr"))
