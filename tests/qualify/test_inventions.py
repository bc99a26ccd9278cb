"""What a summary invents is found; what was said in other words is let pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.qualify.figures import figures, in_digits
from voxtral_serverless.qualify.inventions import Inventions, inventions
from voxtral_serverless.qualify.labelled_calls import labelled_calls
from voxtral_serverless.transcription.lexicons import LEXICONS
from voxtral_serverless.transcription.numerals import Numbers

CALLS = {call.id: call for call in labelled_calls()}


def names(summary: str, said: str) -> tuple[str, ...]:
    return inventions(summary, said).names


def amounts(summary: str, said: str) -> tuple[str, ...]:
    found = inventions(summary, said)
    assert not found.names
    return found.amounts


def dates(summary: str, said: str) -> tuple[str, ...]:
    found = inventions(summary, said)
    assert not found.names
    return found.dates


SAME = [
    ("3 200,50 €", "3200,50 euros", "trois mille deux cents euros cinquante", "3\u202f200,50\u00a0€", "3.200,50 EUR"),
    ("49,90 €", "49 euros 90", "quarante-neuf euros et quatre-vingt-dix centimes", "49,9 euros"),
    ("71 €", "soixante et onze euros", "soixante-et-onze euros", "septante et un euros"),
    ("95 euros", "quatre-vingt-quinze euros", "nonante-cinq euros", "95€"),
    ("1 500 000 €", "1,5 million d'euros", "un million cinq cent mille euros", "1500000 euros"),
    ("12 000 €", "12 k€", "douze mille euros", "12.000 euros"),
    ("37 %", "trente-sept pour cent", "37%"),
    ("0,50 €", "50 centimes", "cinquante centimes", "0,5 euro"),
    ("941,50 €", "941€50", "941 € 50"),
    ("2,5 kg", "deux virgule cinq kilos"),
    ("quinze jours", "15 jours", "deux semaines", "2 semaines"),
    ("une demi-heure", "30 minutes", "trente minutes"),
    ("trois mois", "un trimestre", "3 mois"),
    ("48 heures", "deux jours", "2 jours"),
    ("une douzaine de colis", "douze colis", "12 colis"),
    ("01 99 00 52 18", "0199005218", "01.99.00.52.18", "+33 1 99 00 52 18", "+33199005218", "+33 (0)1 99 00 52 18"),
    ("le contrat 40 827 315", "le contrat 40827315", "le contrat 40 82 73 15"),
    ("14 h 30", "14h30", "14:30", "quatorze heures trente", "deux heures et demie de l'après-midi", "14 heures 30"),
    ("12 h 15", "midi et quart"),
    ("16 h 45", "dix-sept heures moins le quart", "cinq heures moins quinze de l'après-midi"),
    ("17 h", "17 heures", "dix-sept heures", "cinq heures du soir", "17h00"),
    ("le 12 mars", "le 12/03", "le douze mars", "jeudi 12 Mars", "du 12/03", "au 12/3", "(12/03)"),
    ("dimanche 12 mars", "dimanche 12/03"),
    ("mardi 19 novembre", "mardi 19/11"),
    ("les 12 et 13 mars", "des 12/03 et 13 mars"),
    ("le 1er avril", "le premier avril", "le 1 avril", "le 01/04"),
    ("le 9 novembre 1968", "le 09/11/1968", "le neuf novembre dix-neuf cent soixante-huit"),
    ("en août 2013", "en Aout deux mille treize"),
    ("en 2019", "en deux mille dix-neuf"),
    ("samedi", "les samedis", "SAMEDI"),
    ("deux cent trente et un mille plaquettes", "231 000 plaquettes", "231000 plaquettes"),
]


@pytest.mark.parametrize("ways", SAME, ids=lambda ways: str(ways[0]))
def test_a_figure_is_the_same_however_it_is_written(ways: tuple[str, ...]) -> None:
    for said in ways:
        for written in ways:
            said_so, written_so = f"Oui, c'est {said}, voilà.", f"Le client dit {written} en tout."
            if "jeudi" not in written:
                assert inventions(written_so, said_so) == Inventions(), (written, said)


AMOUNTS = [
    ("Il doit 230 euros.", "Il doit 320 euros.", ("230 euros",)),
    ("Il doit 49,90 €.", "Il doit 49 euros.", ("49,90 €",)),
    ("Il doit 49,90 €.", "J'en ai 49, il en veut 90.", ()),  # it may be how the amount was said
    ("Il doit deux cents euros.", "Il doit douze euros.", ("deux cents euros",)),
    ("Il a payé 100 € et 250 €.", "J'ai payé 100 €.", ("250 €",)),
    ("Un délai de six semaines.", "Un délai de huit semaines.", ("six semaines",)),
    ("Un taux de 37 %.", "Un taux de 35 %.", ("37 %",)),
    ("Le dossier 88 312.", "Le dossier 88 321.", ("88 312",)),
    ("Le numéro 01 99 00 52 19.", "Le numéro 01 99 00 52 18.", ("01 99 00 52 19",)),
    ("Il y avait 64 candidats.", "Il y avait des candidats.", ("64",)),
    ("La formation dure 140 heures.", "La formation dure longtemps.", ("140 heures",)),
    ("La panne a duré deux heures.", "La panne a duré une minute.", ("deux heures",)),
    ("Il doit 290 €.", "Il doit 1 290 €.", ("290 €",)),
    ("Il doit 50 €.", "Il doit 89,50 €.", ("50 €",)),
    ("Il doit 50 centimes.", "Il doit 1,50 €.", ("50 centimes",)),
    ("Sous trois mois.", "Il gagne 3 860 euros.", ("trois mois",)),
    ("Sous trente minutes.", "11 tiramisus à 41 euros.", ("trente minutes",)),
    ("Sous huit jours.", "Du 10 juin au 2 juillet.", ("huit jours",)),
    ("Sous huit jours.", "Le 10 juin, après deux visites.", ("huit jours",)),
    ("Sous deux jours.", "De 8 h à 10 h.", ("deux jours",)),
    ("Sous deux heures.", "Du 8 au 10.", ("deux heures",)),
    ("Elle a payé 2x187,50 €.", "C'est 187,40 €, deux fois.", ("187,50 €",)),
    ("Il doit 20 €, puis 20 €, et 20 euros.", "Rien.", ("20 €", "20 euros")),
]


@pytest.mark.parametrize(("summary", "said", "invented"), AMOUNTS)
def test_amounts(summary: str, said: str, invented: tuple[str, ...]) -> None:
    assert amounts(summary, said) == invented


FOLLOWS = [
    ("Au 01 99 00 52 18.", "Zéro un, quatre-vingt-dix-neuf, zéro zéro, cinquante-deux, dix-huit."),
    ("99,99 € lui sont rendus.", "Je vous rends 39,99 € et 60 €."),
    ("Il reste 280 euros.", "Sur 560 euros, on vous rend 280 euros."),
    ("414 euros pour le séjour.", "C'est 3 nuits à 138 euros."),
    ("Deux prélèvements, soit 374,80 €.", "Vous m'avez prélevé 187,40 € deux fois."),
    ("Environ 190 €.", "C'est 187,40 €."),
    ("L'écart, 2 400 €, est grand.", "À 18 600 euros ! On avait dit 21 000 !"),
    ("550 baguettes de plus.", "J'en faisais 350, et maintenant 900."),
    ("Près de 375 €.", "Vous m'avez prélevé 187,40 € deux fois."),
    ("Elle a payé 2x187,40 €, 2\N{MULTIPLICATION SIGN}187,40 €.", "C'est 187,40 €, deux fois."),
    ("Il y a eu le Covid-19.", "Le Covid."),
    ("Sous deux semaines.", "Sous dix jours ouvrés."),
    ("Après 37 jours.", "Le 25 août, puis le 1er octobre."),
    ("Au bout de 14 jours.", "Le 20 décembre, puis le 3 janvier."),
    ("La coupure dure 3 h 30, soit 210 minutes.", "De 8 h 30 à 12 h."),
    ("La coupure dure trois heures et demie.", "De 8 h 30 à 12 h."),
    ("La coupure dure trois heures.", "De 8 h à 11 h."),
    ("Il a attendu 1 h 30.", "J'ai attendu quatre-vingt-dix minutes."),
    ("Depuis trois jours.", "C'était le vingt et un, et on est le vingt-quatre."),
    ("Depuis trois semaines.", "C'est du 3 février, et on est le 24."),
    ("Après dix-sept jours.", "Commandé le 10 juin, signé le 27 juin."),
    ("Trois appels et deux visites, une par an.", "J'ai appelé lundi, mardi et mercredi."),
    ("Il remercie mille fois.", "Merci, merci."),
    ("Le canapé neuf et un client.", "Le canapé."),
    ("Le modèle CE2 de 5G.", "Le modèle."),
]


@pytest.mark.parametrize(("summary", "said"), FOLLOWS)
def test_what_follows_from_what_was_said_is_no_invention(summary: str, said: str) -> None:
    assert inventions(summary, said) == Inventions()


@pytest.mark.parametrize(
    "rough",
    [
        "aux alentours de 190 €", "de l'ordre de 190 €", "approximativement 190 €", "~190 €", "~ 190 €", "190 € environ",
        "un total qui avoisine 190 €", "un total qui dépasse les 180 €", "un total avoisinant 190 €", "190 € à peu près",
    ],
)  # fmt: skip
def test_there_are_many_words_for_about(rough: str) -> None:
    assert inventions(f"C'est {rough}.", "C'est 187,40 €.") == Inventions()
    assert amounts(f"C'est {rough}.", "C'est 287,40 €.") != ()


def test_half_an_hour_may_be_rough() -> None:
    assert inventions("Plus d'une demi-heure d'attente.", "J'attends depuis trente-cinq minutes.") == Inventions()
    assert amounts("Plus d'une demi-heure d'attente.", "J'attends depuis cinquante minutes.") == ("demi-heure",)


def test_rough_is_not_anything() -> None:
    assert amounts("Environ 250 €.", "C'est 187,40 €.") == ("250 €",)


DATES = [
    ("Rendez-vous le 13 mars.", "Rendez-vous le 12 mars.", ("13 mars",)),
    ("Rendez-vous le 12 avril.", "Le 12 mars.", ("12 avril",)),
    ("Rendez-vous le 12 avril.", "Le 12 mars ou le 3 avril.", ("12 avril",)),
    ("Du 14 au 17 juillet.", "Du 14 au 17 juillet.", ()),
    ("Le 14 juillet.", "Du 14 au 17 juillet.", ()),
    ("Les 3 et 5 mars.", "Le 3, le 5 et le 9 mars.", ()),
    ("Le 12 mars 2024.", "Le 12 mars.", ("12 mars 2024",)),
    ("Le 12 mars 2024.", "Le 12 mars, en 2024 donc.", ()),
    ("En mai.", "En juin.", ("mai",)),
    ("En mars 2019.", "En mars 2018.", ("mars 2019",)),
    ("Depuis 1994.", "Depuis 2006.", ("1994",)),
    ("Mardi prochain.", "Mercredi prochain.", ("Mardi",)),
    ("À 14 h 30.", "À 14 h 45.", ("14 h 30",)),
    ("Vers 9 h.", "Entre 8 et 10 h.", ("9 h",)),
    ("Vers 8 h.", "Entre 8 et 10 h.", ()),
    ("À 6 h.", "À 18 h.", ("6 h",)),
    ("À 8 h 30.", "À 20 h 30.", ("8 h 30",)),
    ("À 8 h 30 du soir.", "À 20 h 30.", ()),
    ("À six heures du soir.", "À 18 h.", ()),
    ("À 18 h 30.", "À six heures et demie.", ()),
    ("Vers 18 h, peu après ou vers 17 h 50.", "À 17 h 52.", ()),
    ("Vers 18 h.", "À 17 h 22.", ("18 h",)),
    ("À minuit.", "À 24 h.", ()),
    ("À 0 h.", "À minuit.", ()),
    ("La veille du 21/11.", "Le 19 novembre.", ("21/11",)),
    ("L'appel (21/11).", "Le 19 novembre.", ("21/11",)),
    ("Il passe à 16 heures.", "Il passe à 16 h 10.", ()),
    ("Il passe à neuf heures.", "Il passe demain.", ("neuf heures",)),
    ("Il passe à midi.", "Il passe mercredi après-midi.", ("midi",)),
    ("Il passe l'après-midi, demain.", "Il passe.", ()),
    ("Il passe demain, la semaine prochaine, ce soir ou le week-end.", "Il passe.", ()),
]


@pytest.mark.parametrize(("summary", "said", "invented"), DATES)
def test_dates(summary: str, said: str, invented: tuple[str, ...]) -> None:
    assert dates(summary, said) == invented


NAMES = [
    ("La cliente, Sophie Perrin, appelle.", "Madame Odile Perrin.", ("Sophie",)),
    ("Elle parle à Karim Benali de chez Volta.", "Bonjour.", ("Karim Benali", "Volta")),
    ("Elle parle à M. Dupont.", "Je suis monsieur Dupond.", ("Dupont",)),
    ("Elle a rencontré M. Durand. Durand est d'accord.", "Bonjour.", ("Durand",)),
    ("Julien Moreau appelle.", "Bonjour.", ("Julien Moreau",)),
    ("Contactant Volta, il se plaint.", "Ici Volta.", ()),
    ("Mécontent, il se plaint. Insatisfaite, elle raccroche.", "Bonjour.", ()),
    ("Madame Roux appelle.", "Bonjour.", ("Roux",)),
    ("EDF refuse. Il en veut à la SNCF.", "Bonjour.", ("EDF", "SNCF")),
    ("Il appelle la CAF.", "La caisse d'allocations familiales ?", ()),
    ("Il appelle le SAV par SMS pour un RIB.", "Le service.", ()),
    ("Il habite à Saint Aubin.", "Mairie de Saint-Aubin.", ()),
    ("Il habite à Saint-Aubin.", "Mairie de saint aubin.", ()),
    ("Il habite à Saint-Malo.", "Mairie de Saint-Aubin.", ("Saint-Malo",)),
    ("La boulangère, Maud Legoff, est ravie.", "Maud Le Goff.", ()),
    ("Elle s'appelle Helene Desbœufs.", "Hélène Desboeufs.", ()),
    ("Il s'appelle Ferand.", "Julien Ferrand.", ()),
    ("Elle parle d'Opaline et de l'Allemagne.", "Ici Opaline.", ("Allemagne",)),
    ("Elle parle d'Électrodom.", "ÉLECTRODOM, bonjour.", ()),
    ("L'appel de SPEAKER_00 à SPEAKER_01.", "Bonjour.", ()),
    ("Il dit : Merci. « Bonsoir », dit-elle… Puis rien ! Quand ? Jamais.", "Salut.", ()),
    ("Résumé: Satisfait, le client remercie Monsieur le Directeur en Mars.", "En mars.", ()),
    ("Le Client et l'Agent du Service parlent de la Mairie.", "Bonjour.", ()),
    ("Le client souhaite, d'après Karim, partir.", "Karim, bonjour.", ()),
    ("Il parle avec Jean-Yves.", "Jean-Yves Roussel.", ()),
    ("Il parle avec Jean-Yves.", "Roussel.", ("Jean-Yves",)),
    ("Il parle avec Zoé, puis Zoé, puis ZOÉ.", "Bonjour.", ("Zoé",)),
    ("Elle se rend salle B, groupe C.", "Bonjour.", ()),
    ("La cliente, Marie, appelle.", "Mon mari est décédé.", ("Marie",)),
    ("La cliente, Adam, appelle.", "Bonjour, madame.", ("Adam",)),
    ("La cliente, Legoff, appelle.", "Le\nGoff.", ("Legoff",)),
    ("Il s'appelle Kowalski.", "K, O, W, A, L, S, K, I.", ()),
    ("Il en veut à MMA.", "Mais moi,\nà qui ?", ("MMA",)),
    ("Il en veut à la CPAM.", "La caisse primaire d'assurance maladie.", ()),
    ("Lorsqu'Isabelle Morvan part, il reste. Puisqu'Isabelle Morvan part.", "Isabelle Morvan.", ()),
    ("Lorsqu'Isabelle Morvan part, il reste.", "Morvan.", ("Lorsqu'Isabelle",)),
    ("Côté Volta, rien. Hormis Volta, rien. Excepté Volta, rien.", "Volta.", ()),
    ("La Dre, la Docteure Volta, dit sa Box HS.", "Volta.", ()),
    ("Les Analyses de l'Assemblée Générale Nationale.", "L'assemblée.", ()),
]


@pytest.mark.parametrize(("summary", "said", "invented"), NAMES)
def test_names(summary: str, said: str, invented: tuple[str, ...]) -> None:
    assert names(summary, said) == invented


SUMMARIES = {
    "energie_facture_double": (
        "Mme Odile Perrin, cliente de Volta Énergie, contacte Karim au sujet d'une facture de 187,40 € réglée le 20 mars, "
        "puis prélevée à nouveau le 2 avril. Le délai annoncé est de huit semaines. Au total, 374,80 € ont été prélevés."
    ),
    "telecom_resiliation_geste": (
        "Monsieur Julien Ferrand veut résilier chez Opaline Télécom : il n'a plus d'Internet depuis le 3 février, soit "
        "trois semaines, et attend depuis 35 minutes. Deux rendez-vous, les 11 et 18 février, n'ont rien donné. Nadège "
        "Collin propose une intervention de Moussa Diarra le lendemain entre 8h et 10h, et rend 99,99 €."
    ),
    "syndic_ascenseur": (
        "M. Benhaddou se plaint de l'ascenseur, en panne depuis le 10 juin, soit 22 jours. Sa mère de 86 ans a manqué un "
        "rendez-vous le 21 juin. M. Delorme n'a signé le devis de Levantech, 4870 euros, que le 27 juin."
    ),
    "rdv_dermatologue": (
        "Stéphane Kowalski prend rendez-vous avec le Dr Azoulay pour mardi à 11h20, à cinquante-quatre euros."
    ),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_an_honest_summary_invents_nothing(name: str) -> None:
    assert inventions(SUMMARIES[name], CALLS[name].text) == Inventions()


@pytest.mark.parametrize("name", CALLS)
def test_what_is_said_in_a_call_is_said(name: str) -> None:
    assert inventions(" ".join(CALLS[name].text.split("\n")), CALLS[name].text) == Inventions()


def test_the_summary_of_another_call_is_invented() -> None:
    found = inventions(SUMMARIES["syndic_ascenseur"], CALLS["rdv_dermatologue"].text)
    assert found.names == ("Benhaddou", "Delorme", "Levantech")
    assert found.amounts == ("22 jours", "86 ans", "4870 euros")
    assert found.dates == ("10 juin", "21 juin", "27 juin")


def test_nothing_invents_nothing() -> None:
    assert inventions("", "") == inventions("", "Bonjour.") == Inventions()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("quatre-vingt-dix-neuf mille neuf cent quatre-vingt-dix-neuf", [99_999]),
        ("deux milliards trois cents millions quatre mille", [2_300_004_000]),
        ("vingt et une personnes", [21]),
        ("un chat et une table", []),
        ("le 3, le 5 et le 9", [3, 5, 9]),
        ("3,5 puis 3.5 puis 3.500 puis 3 500", [3.5, 3.5, 3500, 3500]),
    ],
)
def test_numbers_by_value(text: str, values: list[float]) -> None:
    assert [figure.value for figure in figures(in_digits(text))] == values


def test_a_figure_is_told_as_it_was_written() -> None:
    text = in_digits(
        "Il doit  trois mille\u00a0deux cents euros, à payer le premier\u202fmars à Quatorze heures trente."
    )
    assert [figure.text for figure in figures(text)] == [
        "trois mille deux cents euros",
        "premier mars",
        "Quatorze heures trente",
    ]


@given(st.integers(2, 10**9))
def test_every_number_in_words_is_that_number(number: int) -> None:
    words = Numbers("fr", LEXICONS["fr"]).said(number)
    assert [figure.value for figure in figures(in_digits(f"Il y en a {words}."))] == [number]


PIECES = (
    "zéro un une deux vingt vingts cent cents mille million millions milliards et - , virgule 12 3,5 2024 0 99 € euros "
    "centimes k h heures midi moins quart demie demi-heure mars 12/03 le mai lundi environ dizaine de jours % ' . M. Le "
    "Karim SPEAKER_01 L'Oréal « » œ ² 1er d'"
)


@given(st.lists(st.sampled_from(PIECES.split()) | st.text(max_size=3), max_size=20))
def test_any_text_can_be_read_and_says_what_it_says(pieces: list[str]) -> None:
    text = " ".join(pieces)
    found = inventions(text, text)
    assert (found.amounts, found.dates) == ((), ())
